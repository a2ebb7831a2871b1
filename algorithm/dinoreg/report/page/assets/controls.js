// Slider, buttons, keys, legend, table of landmarks.

const opposites = { R: "L", A: "P", S: "I", L: "R", P: "A", I: "S" };

function placeText(array, v) {
  const voxel = v.map((x) => Math.round(x)).join(", ");
  if (!array.letters) return `voxel ${voxel}`;
  const mm = apply(array.affine, v);
  return mm.map((x, n) => `${x < 0 ? opposites["RAS"[n]] : "RAS"[n]} ${Math.abs(x).toFixed(1)}`).join("  ") + " mm";
}

function labelText(array, v) {
  const label = array ? valueAt(array, v) : 0;
  return label ? facts.labels[label - 1].name : "";
}

function showPlace(viewer) {
  const { arrays, mapping, place, plane } = viewer;
  const slider = byId("slice");
  slider.max = arrays.fixed.shape[plane.normal] - 1;
  slider.value = Math.round(place[plane.normal]);
  const about = arrays.fixed.letters ? `${plane.name}` : `${plane.name}?`;
  byId("slice-text").textContent = `${about} ${Math.round(place[plane.normal]) + 1} / ${arrays.fixed.shape[plane.normal]}`;
  byId("at-fixed").textContent = placeText(arrays.fixed, place);
  byId("at-moving").textContent = placeText(arrays.moving, viewer.matching);
  byId("at-length").textContent = `${mapping.lengthMm(place).toFixed(1)} mm`;
  const onMap = (name) => {
    const array = arrays[name];
    const v = place.map((x, n) => ((x + 0.5) * arrays.fixed.spacing[n]) / array.spacing[n] - 0.5);
    return facts.maps[name].values[valueAt(array, clampTo(array.shape, v)) ?? 0] ?? "-";
  };
  byId("at-jacobian").textContent = onMap("jacobian");
  byId("at-mismatch").textContent = onMap("mismatch");
  const organs = [labelText(arrays.fixedLabels, place), labelText(arrays.warpedLabels, place)];
  byId("at-organ").textContent = organs.map((name) => name || "-").join(" / ");
}

function showScale(mode) {
  const map = facts.maps[mode === "grid" ? "length" : mode];
  byId("scale").hidden = !map;
  if (!map) return;
  const stops = map.ramp.map((colour) => `rgb(${colour})`).join(",");
  byId("scale-bar").style.background = `linear-gradient(to right, ${stops})`;
  byId("scale-ticks").replaceChildren(...map.ticks.map(([share, text]) => {
    const tick = document.createElement("span");
    tick.style.left = `${100 * share}%`;
    tick.textContent = text;
    return tick;
  }));
  byId("scale-name").textContent = map.name;
}

function fillLegend(viewer) {
  const box = byId("legend");
  if (facts.labels.length > 1) {
    const all = document.createElement("button");
    all.type = "button";
    all.textContent = "all or none";
    all.addEventListener("click", () => {
      const ticks = [...box.querySelectorAll("input")];
      const show = ticks.some((tick) => !tick.checked);
      ticks.forEach((tick, n) => {
        tick.checked = show;
        viewer.hidden[show ? "delete" : "add"](n + 1);
      });
      viewer.draw();
    });
    box.append(all);
  }
  facts.labels.forEach((label, n) => {
    const entry = document.createElement("label");
    const tick = document.createElement("input");
    const chip = document.createElement("i");
    tick.type = "checkbox";
    tick.checked = true;
    chip.style.background = label.colour;
    tick.addEventListener("change", () => {
      viewer.hidden[tick.checked ? "delete" : "add"](n + 1);
      viewer.draw();
    });
    entry.append(tick, chip, label.name);
    box.append(entry);
  });
}

function wirePoints(viewer) {
  document.querySelectorAll("#points tbody tr").forEach((row) => {
    const choose = () => {
      document.querySelector("#points .chosen")?.classList.remove("chosen");
      row.classList.add("chosen");
      viewer.chosen = Number(row.dataset.point);
      viewer.goTo(facts.points[viewer.chosen].fixed);
    };
    row.addEventListener("click", choose);
    row.addEventListener("keydown", (event) => event.key === "Enter" && choose());
  });
}

function wireCompare(viewer) {
  const screen = viewer.compare;
  const { fixed } = viewer.panels;
  const point = (event) => {
    const box = screen.getBoundingClientRect();
    const v = fixed.voxelAt(event.clientX - box.left, event.clientY - box.top);
    if (v) viewer.goTo(v);
  };
  screen.addEventListener("pointerdown", (event) => event.button === 0 && point(event));
  screen.addEventListener("pointermove", (event) => event.buttons & 1 && point(event));
  screen.addEventListener("wheel", (event) => {
    event.preventDefault();
    viewer.setSlice(viewer.place[viewer.plane.normal] + (event.deltaY < 0 ? -1 : 1));
  }, { passive: false });
}

function wireControls(viewer) {
  const change = (id, act) => byId(id).addEventListener("input", (event) => act(event.target));
  change("slice", (slider) => viewer.setSlice(Number(slider.value)));
  change("plane", (choice) => viewer.setPlane(Number(choice.value)));
  change("zoom", (slider) => viewer.setZoom(Number(slider.value)));
  change("mode", (choice) => {
    viewer.mode = choice.value;
    showScale(viewer.mode);
    viewer.drawCompare();
  });
  for (const name of Object.keys(viewer.on)) {
    change(name, (box) => {
      viewer.on[name] = box.checked;
      viewer.draw();
    });
  }
  for (const role of ["fixed", "moving"]) {
    const set = () => viewer.setWindow(
      role, Number(byId(`${role}-level`).value), Number(byId(`${role}-width`).value));
    change(`${role}-level`, set);
    change(`${role}-width`, set);
  }
  const setBefore = (before) => {
    byId("before").setAttribute("aria-pressed", before);
    byId("warped-name").textContent = before ? "moving, before" : "moving, warped";
    viewer.setBefore(before);
  };
  byId("before").addEventListener("click", () => setBefore(!viewer.before));
  setInterval(() => {
    viewer.phase = !viewer.phase;
    if (viewer.mode !== "blink") return;
    byId("compare-name").textContent = viewer.phase ? "blink: moving" : "blink: fixed";
    viewer.drawCompare();
  }, 600);
  change("mode", () => { byId("compare-name").textContent = "both"; });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input, [tabindex]")) return;
    const step = { ArrowUp: 1, PageUp: 5, ArrowDown: -1, PageDown: -5 }[event.key];
    if (step) viewer.setSlice(viewer.place[viewer.plane.normal] + step);
    else if (event.key === "b") setBefore(!viewer.before);
    else return;
    event.preventDefault();
  });
  fillLegend(viewer);
  wirePoints(viewer);
  wireCompare(viewer);
}
