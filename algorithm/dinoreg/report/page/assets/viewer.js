// The page at work: one place in fixed, and everything that follows from it.

class Viewer {
  constructor(arrays) {
    this.arrays = arrays;
    this.mapping = new Mapping(arrays);
    this.panels = {
      fixed: new Panel("fixed", arrays.fixed),
      moving: new Panel("moving", arrays.moving),
      warped: new Panel("warped", arrays.warped),
    };
    this.compare = document.querySelector("[data-role=compare] .screen");
    this.windows = { fixed: [...facts.window], moving: [...facts.window] };
    this.place = facts.centre;
    this.matching = this.mapping.toMoving(this.place);
    this.plane = PLANES[0];
    this.mode = "checkerboard";
    this.before = false;
    this.phase = false;
    this.hidden = new Set();
    this.chosen = -1;
    this.busy = false;
    this.on = { contours: true, landmarks: true, crosshair: true, hatching: true };
  }

  async start() {
    for (const [role, panel] of Object.entries(this.panels)) {
      await panel.start();
      panel.show(this.windows[role === "fixed" ? "fixed" : "moving"]);
    }
    for (const [role, panel] of Object.entries(this.panels)) {
      panel.onDraw = () => this.drawOver(role);
      panel.nv.onLocationChange = ({ frac }) => this.clicked(role, frac);
    }
    this.setPlane(0);
  }

  clicked(role, frac) {
    if (this.busy) return;
    const { shape } = this.panels[role].array;
    const v = shape.map((size, n) => frac[n] * size - 0.5);
    this.goTo(role === "moving" ? this.mapping.toFixed(v) : v);
  }

  goTo(v) {
    this.place = clampTo(this.arrays.fixed.shape, v);
    this.draw();
  }

  draw() {
    this.busy = true;
    const { fixed, moving, warped } = this.panels;
    this.matching = this.mapping.toMoving(this.place);
    fixed.moveTo(this.place);
    warped.moveTo(this.place);
    moving.moveTo(this.before ? apply(facts.toMoving, this.place) : this.matching);
    for (const panel of [fixed, moving, warped]) panel.nv.drawScene();
    this.busy = false;
    showPlace(this);
  }

  setPlane(n) {
    this.plane = PLANES[n] ?? PLANES[0];
    for (const { nv } of Object.values(this.panels)) nv.opts.sliceType = n;
    this.draw();
  }

  setSlice(index) {
    const v = [...this.place];
    v[this.plane.normal] = index;
    this.goTo(v);
  }

  setZoom(zoom) {
    for (const { nv } of Object.values(this.panels)) {
      // The crosshair stays where it is: NiiVue scales about the origin.
      const pan = nv.scene.pan2Dxyzmm;
      const mm = nv.frac2mm(nv.scene.crosshairPos);
      const change = pan[3] - zoom;
      nv.scene.pan2Dxyzmm = [...[0, 1, 2].map((n) => (zoom === 1 ? 0 : pan[n] + change * mm[n])), zoom];
    }
    this.draw();
  }

  setWindow(role, middle, width) {
    this.windows[role] = [middle - width / 2, middle + width / 2];
    for (const [name, panel] of Object.entries(this.panels)) {
      if ((name === "fixed") === (role === "fixed")) panel.show(this.windows[role]);
    }
    this.draw();
  }

  setBefore(before) {
    this.before = before;
    this.resting ??= this.mapping.before();
    const values = before ? this.resting : this.arrays.warped.values;
    this.panels.warped.array = { ...this.arrays.warped, values };
    this.panels.warped.replace(values, this.windows.moving);
    this.draw();
  }

  drawOver(role) {
    const panel = this.panels[role];
    this.decorate(panel.cleared(), panel, role);
    if (role !== "moving") this.drawCompare();
  }

  drawCompare() {
    const { fixed, warped } = this.panels;
    const canvas = this.compare.querySelector(".over");
    if (canvas.width !== fixed.picture.width) canvas.width = fixed.picture.width;
    if (canvas.height !== fixed.picture.height) canvas.height = fixed.picture.height;
    const context = canvas.getContext("2d");
    drawComparison(context, this.mode, fixed.tiles, { fixed: fixed.picture, warped: warped.picture }, {
      arrays: this.arrays,
      mapping: this.mapping,
      pixel: fixed.pixel,
      phase: this.phase,
      size: 44 * fixed.pixel,
    });
    this.decorate(context, fixed, "compare");
  }

  // Whatever lies over the slices of a panel, on a canvas of its size.
  decorate(context, panel, role) {
    const { pixel, array } = panel;
    const together = role === "compare";
    const moved = role === "warped" || (together && !MAPS.includes(this.mode) && this.mode !== "grid");
    for (const tile of panel.tiles) {
      if (this.on.hatching && (role === "warped" || role === "moving")) {
        drawHatching(context, tile, array, pixel);
      } else if (this.on.hatching && moved) drawHatching(context, tile, this.panels.warped.array, pixel);
      if (this.on.contours) this.drawContours(context, tile, role, moved, pixel);
      if (this.on.landmarks && facts.points) {
        drawPoints(context, tile, pointsOn(role, this.mapping), {
          pixel, spacing: array.spacing, chosen: this.chosen,
        });
      }
      const at = role === "moving" ? (this.before ? apply(facts.toMoving, this.place) : this.matching) : this.place;
      if (this.on.crosshair) drawCross(context, tile, at, pixel);
      drawLetters(context, tile, array, pixel);
    }
  }

  drawContours(context, tile, role, moved, pixel) {
    const style = { pixel, hidden: this.hidden, dashed: false, width: 1.6 };
    const own = role === "moving" ? "movingLabels" : "fixedLabels";
    const { [own]: solid, warpedLabels, beforeLabels } = this.arrays;
    if (solid) drawOutlines(context, tile, own, solid, style);
    const name = this.before ? "beforeLabels" : "warpedLabels";
    const dashed = this.before ? beforeLabels : warpedLabels;
    if (dashed && (moved || (role === "fixed" && !solid))) {
      drawOutlines(context, tile, name, dashed, { ...style, dashed: true });
    }
  }
}

// Landmarks of a panel: those of its own image, and where the registration puts those of the other.
function pointsOn(role, mapping) {
  return facts.points.map((point) => {
    if (role === "moving") {
      return { at: point.true ?? point.found, end: point.true && point.found, colour: point.colour };
    }
    if (role === "fixed" || !point.true) return { at: point.fixed, colour: point.colour };
    point.seen ??= mapping.toFixed(point.true);
    return { at: point.fixed, end: point.seen, colour: point.colour };
  });
}
