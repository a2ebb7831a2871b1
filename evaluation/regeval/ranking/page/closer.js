// A closer look: the means over the picked cases and labels, from the values that each cell carries.
const closer = document.getElementById("closer");
const valueText = (value) => {
  if (value === null) return "–";
  const size = Math.abs(value);
  return value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1);
};
const parsed = new Map();  // the values of a cell are read once
const valuesOf = (cell, name) => {
  const key = cell.dataset[name];
  if (!parsed.has(key)) parsed.set(key, JSON.parse(key));
  return parsed.get(key);
};
if (closer) {
  const picks = ["cases", "labels"].map((id) => document.getElementById(id)).filter((pick) => pick);
  const boxesOf = (pick) => [...pick.querySelectorAll("input")];
  const chosenIn = (id) => {
    const pick = picks.find((one) => one.id === id);
    return pick ? boxesOf(pick).filter((box) => box.checked) : [];
  };
  const isWhole = (pick) => boxesOf(pick).every((box) => box.checked);
  const known = (values) => values.filter((value) => value !== null && value !== undefined);
  const mean = (values) => (values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : null);
  // Values of a metric, a list per picked case: that of the case or, where labels are picked, those of its labels.
  const picked = (cell, head, cases, labels) => {
    if (labels === null) return cases.map((place) => [valuesOf(cell, "cases")[place]]);
    const own = valuesOf(head, "labels");
    const places = own.map((_, place) => place).filter((place) => labels.has(own[place]));
    if (!places.length || cell.dataset.byLabel === undefined) return [];
    return cases.map((one) => places.map((place) => valuesOf(cell, "byLabel")[one][place]));
  };
  const show = () => {
    const cases = chosenIn("cases").map((box) => Number(box.value));
    const byLabel = picks.some((pick) => pick.id === "labels" && !isWhole(pick));
    const labels = byLabel ? new Set(chosenIn("labels").map((box) => box.dataset.name)) : null;
    const heads = [...closer.tHead.rows[0].cells];
    for (const row of closer.tBodies[0].rows) {
      [...row.cells].slice(1).forEach((cell, column) => {
        const all = picked(cell, heads[column + 1], cases, labels);
        const value = mean(known(all.map((one) => mean(known(one)))));
        const count = all.flat().length;
        const without = count - known(all.flat()).length;
        cell.textContent = valueText(value);
        cell.dataset.value = value === null ? "" : String(value);
        if (without) {
          const note = document.createElement("small");
          note.className = "lost";
          note.textContent = `${without} of ${count} without number`;
          cell.append(note);
        }
      });
    }
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    const said = picks.filter((pick) => !isWhole(pick)).map((pick) => {
      const names = chosenIn(pick.id).map((box) => box.dataset.name);
      const some = names.length > 6 ? `${names.slice(0, 6).join(", ")} and others` : names.join(", ");
      return `${names.length} of ${boxesOf(pick).length} ${pick.id}${names.length ? ` (${some})` : ""}`;
    });
    picks.forEach((pick) => {
      const boxes = boxesOf(pick);
      const count = boxes.filter((box) => box.checked).length;
      pick.querySelector("span").textContent = count === boxes.length ? `all ${count}` : `${count} of ${boxes.length}`;
    });
    const note = document.getElementById("picked");
    note.hidden = !said.length;
    note.textContent = said.length
      ? `Means over ${said.join(" and ")}. Ranks and scores stay those over everything.` : "";
  };
  for (const pick of picks) {
    pick.addEventListener("change", show);
    for (const button of pick.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        boxesOf(pick).forEach((box) => { box.checked = button.value === "all"; });
        show();
      });
    }
  }
}
