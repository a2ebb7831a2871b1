// What is drawn over a slice: letters, outlines, landmarks, crosshair, hatching, maps and the bent grid.

const clipped = (context, tile, draw) => {
  context.save();
  context.beginPath();
  context.rect(...tile.box);
  context.clip();
  draw();
  context.restore();
};

function drawLetters(context, tile, array, pixel) {
  if (!array.letters) return;
  const opposite = { R: "L", L: "R", A: "P", P: "A", S: "I", I: "S" };
  const ends = (axis, rising) => {
    const high = array.letters[axis];
    return rising ? [opposite[high], high] : [high, opposite[high]];
  };
  const [left, right] = ends(tile.plane.across, tile.across[0] > 0);
  const [top, bottom] = ends(tile.plane.up, tile.up[0] > 0);
  const [x, y, width, height] = tile.box;
  context.font = `600 ${13 * pixel}px system-ui, sans-serif`;
  context.fillStyle = "#e6e6e6";
  context.strokeStyle = "#000";
  context.lineWidth = 3 * pixel;
  context.textBaseline = "middle";
  context.textAlign = "center";
  const gap = 10 * pixel;
  for (const [letter, px, py] of [
    [left, x + gap, y + height / 2], [right, x + width - gap, y + height / 2],
    [top, x + width / 2, y + gap], [bottom, x + width / 2, y + height - gap],
  ]) {
    context.strokeText(letter, px, py);
    context.fillText(letter, px, py);
  }
}

function drawOutlines(context, tile, name, array, { dashed, pixel, hidden, width }) {
  const found = cachedOutlines(name, array, tile.plane, tile.index);
  clipped(context, tile, () => {
    context.lineWidth = width * pixel;
    context.setLineDash(dashed ? [5 * pixel, 4 * pixel] : []);
    for (const [label, loops] of found) {
      if (hidden.has(label)) continue;
      context.strokeStyle = facts.labels[label - 1].colour;
      context.beginPath();
      for (const loop of loops) {
        loop.forEach(([a, b], n) => context[n ? "lineTo" : "moveTo"](tile.x(a), tile.y(b)));
        context.closePath();
      }
      context.stroke();
    }
  });
}

function drawCross(context, tile, v, pixel) {
  const [x, y] = [tile.x(v[tile.plane.across]), tile.y(v[tile.plane.up])];
  const gap = 7 * pixel;
  const [left, top, width, height] = tile.box;
  clipped(context, tile, () => {
    context.setLineDash([]);
    context.strokeStyle = "rgba(255, 210, 63, 0.75)";
    context.lineWidth = pixel;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [
      [left, y, x - gap, y], [x + gap, y, left + width, y], [x, top, x, y - gap], [x, y + gap, x, top + height],
    ]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  });
}

function hatchPattern(context, pixel) {
  const size = Math.round(8 * pixel);
  const hatch = new OffscreenCanvas(size, size);
  const brush = hatch.getContext("2d");
  brush.strokeStyle = "#8a9099";
  brush.lineWidth = pixel;
  brush.beginPath();
  for (const shift of [-size, 0, size]) {
    brush.moveTo(shift, size);
    brush.lineTo(shift + size, 0);
  }
  brush.stroke();
  return context.createPattern(hatch, "repeat");
}

// An image of (across, up) colours, laid over the slice voxel by voxel.
function drawPixels(context, tile, { sizes, rgba }, step = [1, 1]) {
  const small = new OffscreenCanvas(...sizes);
  small.getContext("2d").putImageData(new ImageData(rgba, ...sizes), 0, 0);
  clipped(context, tile, () => {
    context.imageSmoothingEnabled = false;
    const [sx, sy] = [tile.across[0] * step[0], tile.up[0] * step[1]];
    context.setTransform(sx, 0, 0, sy, tile.x(-0.5), tile.y(-0.5));
    context.drawImage(small, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
  });
}

function drawHatching(context, tile, array, pixel) {
  const { values, sizes } = planeOf(array, tile.plane, tile.index);
  if (!values.includes(0)) return;
  const rgba = new Uint8ClampedArray(4 * values.length);
  values.forEach((grey, n) => { rgba[4 * n + 3] = grey === 0 ? 255 : 0; });
  const mask = new OffscreenCanvas(context.canvas.width, context.canvas.height);
  const brush = mask.getContext("2d");
  drawPixels(brush, tile, { sizes, rgba });
  brush.globalCompositeOperation = "source-in";
  brush.fillStyle = hatchPattern(brush, pixel);
  brush.fillRect(0, 0, mask.width, mask.height);
  context.drawImage(mask, 0, 0);
}

function drawMap(context, tile, array, fixed, map) {
  const step = [tile.plane.across, tile.plane.up].map((axis) => array.spacing[axis] / fixed.spacing[axis]);
  const per = array.spacing[tile.plane.normal] / fixed.spacing[tile.plane.normal];
  const { values, sizes } = planeOf(array, tile.plane, Math.round((tile.index + 0.5) / per - 0.5));
  const rgba = new Uint8ClampedArray(4 * values.length);
  values.forEach((code, n) => rgba.set(map.colours[code], 4 * n));
  drawPixels(context, tile, { sizes, rgba }, step);
}

const shades = (colours, share) =>
  colours[Math.round(Math.min(Math.max(share, 0), 1) * (colours.length - 1))];

function drawGrid(context, tile, mapping, pixel) {
  const { plane, index } = tile;
  const [n, m] = [mapping.fixed.shape[plane.across], mapping.fixed.shape[plane.up]];
  const mm = [mapping.fixed.spacing[plane.across], mapping.fixed.spacing[plane.up]];
  const gap = Math.max(n * mm[0], m * mm[1]) / 26;
  const bent = (a, b) => {
    const v = [0, 0, 0];
    [v[plane.across], v[plane.up], v[plane.normal]] = [a, b, index];
    const moved = mapping.displaced(v);
    return [tile.x(moved[plane.across]), tile.y(moved[plane.up]), mapping.lengthMm(v)];
  };
  const line = (points) => {
    for (let k = 1; k < points.length; k += 1) {
      const [x0, y0, l0] = points[k - 1];
      const [x1, y1, l1] = points[k];
      context.strokeStyle = `rgb(${shades(facts.maps.length.ramp, (l0 + l1) / 2 / facts.longestMm)})`;
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
  };
  const along = (size, step) => {
    const count = Math.max(2, Math.round(size / step));
    return Array.from({ length: count }, (_, k) => Math.floor(((k + 0.5) * size) / count));
  };
  const fine = (size, spacing) => {
    const step = Math.max(1, Math.round(gap / 4 / spacing));
    return Array.from({ length: Math.floor((size - 1) / step) + 1 }, (_, k) => k * step);
  };
  clipped(context, tile, () => {
    context.setLineDash([]);
    context.lineWidth = 1.2 * pixel;
    for (const b of along(m, gap / mm[1])) line(fine(n, mm[0]).map((a) => bent(a, b)));
    for (const a of along(n, gap / mm[0])) line(fine(m, mm[1]).map((b) => bent(a, b)));
  });
}

// Landmarks near the slice, and the chosen one: a circle where one is; a cross where its counterpart is put.
function drawPoints(context, tile, points, { pixel, spacing, chosen }) {
  const { across, up, normal } = tile.plane;
  clipped(context, tile, () => {
    context.setLineDash([]);
    points.forEach(({ at, end, colour }, n) => {
      const away = Math.abs(at[normal] - tile.index) * spacing[normal];
      if (away > facts.pointDepthMm && n !== chosen) return;
      context.globalAlpha = n === chosen ? 1 : 1 - 0.7 * (away / facts.pointDepthMm);
      context.strokeStyle = colour;
      context.lineWidth = (n === chosen ? 3 : 1.6) * pixel;
      const [x, y] = [tile.x(at[across]), tile.y(at[up])];
      context.beginPath();
      context.arc(x, y, 5 * pixel, 0, 2 * Math.PI);
      if (end) {
        const [ex, ey] = [tile.x(end[across]), tile.y(end[up])];
        context.moveTo(x, y);
        context.lineTo(ex, ey);
        context.moveTo(ex - 4 * pixel, ey - 4 * pixel);
        context.lineTo(ex + 4 * pixel, ey + 4 * pixel);
        context.moveTo(ex - 4 * pixel, ey + 4 * pixel);
        context.lineTo(ex + 4 * pixel, ey - 4 * pixel);
      }
      context.stroke();
    });
    context.globalAlpha = 1;
  });
}
