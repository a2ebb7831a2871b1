// What the tests ask of the page.
globalThis.probe = {
  put(id, value) {
    const control = document.getElementById(id);
    control.value = value;
    control.dispatchEvent(new Event("input"));
  },

  // Width, height and greys of what NiiVue drew in a panel.
  pixels(role) {
    const { picture } = viewer.panels[role];
    const { data } = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height);
    return [picture.width, picture.height, ...data.filter((_, n) => n % 4 === 0)];
  },

  // Letters of a panel with where they are written.
  letters(role) {
    const seen = [];
    const panel = viewer.panels[role];
    const pen = { strokeText() {}, fillText: (letter, x, y) => seen.push([letter, x, y]) };
    drawLetters(pen, panel.tiles[0], panel.array, 1);
    return seen;
  },

  // Middles of voxels of warped: with data bare and hatched, without data bare and hatched.
  hatching() {
    const panel = viewer.panels.warped;
    const canvas = new OffscreenCanvas(panel.nv.canvas.width, panel.nv.canvas.height);
    const pen = canvas.getContext("2d");
    const tile = panel.tiles[0];
    drawHatching(pen, tile, panel.array, 1);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const { values, sizes } = planeOf(panel.array, tile.plane, tile.index);
    const counts = [0, 0, 0, 0];
    for (let q = 1; q < sizes[1] - 1; q += 1) {
      for (let p = 1; p < sizes[0] - 1; p += 1) {
        const at = Math.round(tile.x(p)) + canvas.width * Math.round(tile.y(q));
        counts[2 * (values[p + sizes[0] * q] === 0) + (data[4 * at + 3] > 0)] += 1;
      }
    }
    return counts;
  },

  compared: () => document.querySelector("[data-role=compare] .over").toDataURL(),
};
