// From fixed to moving and back. Positions are voxels of the page's arrays: centres are whole numbers.

class Mapping {
  constructor(arrays) {
    this.fixed = arrays.fixed;
    this.moving = arrays.moving;
    this.field = arrays.field;
    this.scale = facts.fieldScale;
    // Voxels of the field per voxel of fixed.
    this.step = [0, 1, 2].map((n) => this.field.spacing[n] / this.fixed.spacing[n]);
  }

  // Displacement at a voxel of fixed, in voxels of fixed.
  displacement(v) {
    const at = v.map((x, n) => (x + 0.5) / this.step[n] - 0.5);
    return [0, 1, 2].map((c) => linearAt(this.field, at, c) * this.scale * this.step[c]);
  }

  displaced(v) {
    const u = this.displacement(v);
    return v.map((x, n) => x + u[n]);
  }

  toMoving(v) {
    return apply(facts.toMoving, this.displaced(v));
  }

  // The voxel of fixed that leads to a voxel of moving, by fixed-point iteration; folds have several.
  toFixed(q) {
    const target = apply(facts.fromMoving, q);
    let v = target;
    for (let n = 0; n < 40; n += 1) {
      const error = this.displaced(v).map((x, axis) => x - target[axis]);
      v = v.map((x, axis) => x - 0.8 * error[axis]);
    }
    return v;
  }

  lengthMm(v) {
    return Math.hypot(...this.displacement(v).map((x, n) => x * this.fixed.spacing[n]));
  }

  // Moving as it lay before: read on fixed without a displacement, 0 where it has no data.
  before() {
    const [a, b, c] = this.fixed.shape;
    const [p, q, r] = this.moving.shape;
    const values = new Uint8Array(a * b * c);
    const m = facts.toMoving;
    let n = 0;
    for (let k = 0; k < c; k += 1) {
      for (let j = 0; j < b; j += 1) {
        for (let i = 0; i < a; i += 1, n += 1) {
          const x = Math.round(m[0][0] * i + m[0][1] * j + m[0][2] * k + m[0][3]);
          const y = Math.round(m[1][0] * i + m[1][1] * j + m[1][2] * k + m[1][3]);
          const z = Math.round(m[2][0] * i + m[2][1] * j + m[2][2] * k + m[2][3]);
          if (x >= 0 && y >= 0 && z >= 0 && x < p && y < q && z < r) {
            values[n] = this.moving.values[x + p * (y + q * z)];
          }
        }
      }
    }
    return values;
  }
}
