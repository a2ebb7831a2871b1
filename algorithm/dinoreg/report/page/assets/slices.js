// Planes of the page's arrays: their place on a canvas, their values, the outlines of labels.

// In-plane axes and normal of NiiVue's axial, coronal and sagittal slices.
const PLANES = [
  { name: "axial", across: 0, up: 1, normal: 2 },
  { name: "coronal", across: 0, up: 2, normal: 1 },
  { name: "sagittal", across: 1, up: 2, normal: 0 },
];

// The slices that a NiiVue shows, each with the way from voxels to pixels of its canvas.
function tilesOf(nv, array) {
  return nv.screenSlices.filter((slice) => slice.axCorSag <= 2 && slice.fovMM[0] !== 0).map((slice) => {
    const plane = PLANES[slice.axCorSag];
    let [left, top, width, height] = slice.leftTopWidthHeight;
    const mirrored = width < 0;
    if (mirrored) [left, width] = [left + width, -width];
    const line = (axis, n) => {
      const perMm = 1 / slice.fovMM[n];
      return [array.spacing[axis] * perMm, -slice.leftTopMM[n] * perMm];
    };
    const [a1, a0] = line(plane.across, 0);
    const [b1, b0] = line(plane.up, 1);
    const across = mirrored ? [-width * a1, left + width * (1 - a0)] : [width * a1, left + width * a0];
    const up = [-height * b1, top + height * (1 - b0)];
    return {
      plane,
      index: Math.round(nv.scene.crosshairPos[plane.normal] * array.shape[plane.normal] - 0.5),
      box: [left, top, width, height],
      across,
      up,
      x: (a) => across[0] * a + across[1],
      y: (b) => up[0] * b + up[1],
    };
  });
}

// One plane of an array, (across, up), and its two sizes.
function planeOf(array, plane, index) {
  const [a, b] = array.shape;
  const step = [1, a, a * b];
  const sizes = [array.shape[plane.across], array.shape[plane.up]];
  const values = new array.values.constructor(sizes[0] * sizes[1]);
  const at = Math.min(Math.max(index, 0), array.shape[plane.normal] - 1) * step[plane.normal];
  for (let q = 0, n = 0; q < sizes[1]; q += 1) {
    for (let p = 0; p < sizes[0]; p += 1, n += 1) {
      values[n] = array.values[at + p * step[plane.across] + q * step[plane.up]];
    }
  }
  return { values, sizes };
}

// Between the four corners of a cell, from which of its edges to which the outline runs, the label on its
// left: edges bottom, right, top, left; one entry per set of corners (0, 0), (1, 0), (1, 1), (0, 1).
const EDGE = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];
const RUNS = [
  [], [[0, 3]], [[1, 0]], [[1, 3]], [[2, 1]], [[0, 3], [2, 1]], [[2, 0]], [[2, 3]],
  [[3, 2]], [[0, 2]], [[1, 0], [3, 2]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
];

// The closed outlines of each label in a plane: label -> list of lists of (a, b) voxels.
function outlines({ values, sizes }) {
  const [n, m] = sizes;
  const at = (p, q) => (p < 0 || q < 0 || p >= n || q >= m ? 0 : values[p + n * q]);
  const next = new Map();
  for (let q = -1; q < m; q += 1) {
    for (let p = -1; p < n; p += 1) {
      const corners = [at(p, q), at(p + 1, q), at(p + 1, q + 1), at(p, q + 1)];
      if (corners.every((label) => label === corners[0])) continue;
      for (const label of new Set(corners)) {
        if (label === 0) continue;
        if (!next.has(label)) next.set(label, new Map());
        const set = corners.reduce((bits, other, bit) => bits | ((other === label) << bit), 0);
        for (const [from, to] of RUNS[set]) {
          const key = (edge) => `${2 * (p + EDGE[edge][0])},${2 * (q + EDGE[edge][1])}`;
          next.get(label).set(key(from), key(to));
        }
      }
    }
  }
  const found = new Map();
  for (const [label, links] of next) {
    const loops = [];
    while (links.size) {
      const loop = [];
      let key = links.keys().next().value;
      while (links.has(key)) {
        loop.push(key.split(",").map((x) => Number(x) / 2));
        const following = links.get(key);
        links.delete(key);
        key = following;
      }
      loops.push(loop);
    }
    found.set(label, loops);
  }
  return found;
}

const outlineCache = new Map();

function cachedOutlines(name, array, plane, index) {
  const key = `${name} ${plane.normal} ${index}`;
  if (!outlineCache.has(key)) {
    if (outlineCache.size > 300) outlineCache.clear();
    outlineCache.set(key, outlines(planeOf(array, plane, index)));
  }
  return outlineCache.get(key);
}
