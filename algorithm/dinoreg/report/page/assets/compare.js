// The fourth panel: what NiiVue drew of fixed and of warped, put together; or a map over fixed.

const MAPS = ["jacobian", "mismatch", "length"];

function tinted(source, colour) {
  const canvas = new OffscreenCanvas(source.width, source.height);
  const brush = canvas.getContext("2d");
  brush.drawImage(source, 0, 0);
  brush.globalCompositeOperation = "multiply";
  brush.fillStyle = colour;
  brush.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

function drawCheckerboard(context, tiles, fixed, warped, size) {
  const cool = tinted(fixed, "rgb(219, 247, 255)");
  const warm = tinted(warped, "rgb(255, 242, 214)");
  for (const tile of tiles) {
    const [left, top, width, height] = tile.box;
    clipped(context, tile, () => {
      for (let y = 0, row = 0; y < height; y += size, row += 1) {
        for (let x = 0, column = 0; x < width; x += size, column += 1) {
          const [w, h] = [Math.min(size, width - x), Math.min(size, height - y)];
          context.drawImage((row + column) % 2 ? warm : cool, left + x, top + y, w, h, left + x, top + y, w, h);
        }
      }
    });
  }
}

function drawTogether(context, first, second, how) {
  context.drawImage(first, 0, 0);
  context.globalCompositeOperation = how;
  context.drawImage(second, 0, 0);
  context.globalCompositeOperation = "source-over";
}

// Draws the panel in one of its modes; `images` holds the canvases of fixed and warped.
function drawComparison(context, mode, tiles, images, { arrays, mapping, pixel, phase, size }) {
  const { fixed, warped } = images;
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  if (mode === "checkerboard") drawCheckerboard(context, tiles, fixed, warped, size);
  else if (mode === "blink") context.drawImage(phase ? warped : fixed, 0, 0);
  else if (mode === "difference") drawTogether(context, fixed, warped, "difference");
  else if (mode === "colours") {
    drawTogether(context, tinted(fixed, "rgb(255, 0, 255)"), tinted(warped, "rgb(0, 255, 0)"), "lighter");
  } else if (mode === "grid") for (const tile of tiles) drawGrid(context, tile, mapping, pixel);
  else {
    context.globalAlpha = 0.55;
    context.drawImage(fixed, 0, 0);
    context.globalAlpha = 1;
    for (const tile of tiles) drawMap(context, tile, arrays[mode], arrays.fixed, facts.maps[mode]);
  }
}
