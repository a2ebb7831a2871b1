// What the page holds: arrays as gzip in base 64, and the facts about them.

const byId = (id) => document.getElementById(id);
const facts = JSON.parse(byId("facts").textContent);

async function unpack(id) {
  const text = atob(byId(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let n = 0; n < bytes.length; n += 1) bytes[n] = text.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function loadArrays() {
  const kinds = { u1: Uint8Array, i2: Int16Array };
  const arrays = {};
  for (const [name, about] of Object.entries(facts.arrays)) {
    const values = new kinds[about.type](await unpack(`array-${name}`));
    arrays[name] = { ...about, ...facts.lattices[about.lattice], values };
  }
  return arrays;
}

// A NIfTI file of one 8-bit volume whose axes are those of the page: turning and millimetres are ours.
function nifti(array) {
  const buffer = new ArrayBuffer(352 + array.values.length);
  const view = new DataView(buffer);
  view.setInt32(0, 348, true);
  [3, ...array.shape, 1, 1, 1, 1].forEach((size, n) => view.setInt16(40 + 2 * n, size, true));
  view.setInt16(70, 2, true);
  view.setInt16(72, 8, true);
  [1, ...array.spacing, 1, 1, 1, 1].forEach((size, n) => view.setFloat32(76 + 4 * n, size, true));
  view.setFloat32(108, 352, true);
  view.setFloat32(112, 1, true);
  view.setUint8(123, 2);
  view.setInt16(254, 1, true);
  array.spacing.forEach((size, axis) => view.setFloat32(280 + 20 * axis, size, true));
  view.setUint32(344, 0x00312b6e, true);
  new Uint8Array(buffer, 352).set(array.values);
  return buffer;
}

const apply = (matrix, v) =>
  [0, 1, 2].map((r) => matrix[r][0] * v[0] + matrix[r][1] * v[1] + matrix[r][2] * v[2] + matrix[r][3]);

const clampTo = (shape, v) => v.map((x, n) => Math.min(Math.max(x, 0), shape[n] - 1));

// The value at a voxel, the nearest one; undefined outside.
function valueAt(array, v) {
  const at = v.map(Math.round);
  if (at.some((x, n) => x < 0 || x >= array.shape[n])) return undefined;
  const [a, b] = array.shape;
  return array.values[at[0] + a * (at[1] + b * at[2])];
}

// A value between voxels, by linear interpolation of component c; the border is continued.
function linearAt(array, v, c = 0) {
  const [a, b, n] = array.shape;
  const inside = clampTo(array.shape, v);
  const low = inside.map(Math.floor);
  const high = low.map((x, axis) => Math.min(x + 1, array.shape[axis] - 1));
  const share = inside.map((x, axis) => x - low[axis]);
  let sum = 0;
  for (let corner = 0; corner < 8; corner += 1) {
    const at = [0, 1, 2].map((axis) => ((corner >> axis) & 1 ? high : low)[axis]);
    const weight = [0, 1, 2].reduce(
      (w, axis) => w * ((corner >> axis) & 1 ? share[axis] : 1 - share[axis]), 1);
    if (weight > 0) sum += weight * array.values[at[0] + a * (at[1] + b * (at[2] + n * c))];
  }
  return sum;
}
