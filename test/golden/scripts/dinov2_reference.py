"""What both sides of the DINOv2 comparison start from, in numpy only: weights, slices, stretched positions.

Everything is drawn from uniform doubles of a seeded PCG64, which is the same bits on every machine; the
golden files hold digests all the same, so that a drift would be told from a wrong encoder.
"""

import hashlib

import numpy as np

PATCH = 14
GRID = 37
# name -> width, depth, registers, gated
CASES = {
    "tiny": (128, 3, 0, False),
    "tiny_reg": (128, 3, 4, False),
    "tiny_gated": (128, 2, 0, True),
    "tiny_gated_reg": (128, 2, 4, True),
    "vits14": (384, 12, 0, False),
    "vits14_reg": (384, 12, 4, False),
}
NON_SQUARE = (3 * PATCH, 5 * PATCH)
NATIVE = (GRID * PATCH, GRID * PATCH)
NATIVE_CASES = ("tiny", "tiny_reg")  # at the size of the training, where nothing is interpolated
KEPT = 83  # of the native grid every 83rd patch is kept, coprime to the row length


class Draw:
    """Random tensors of a transformer, in the order in which they are asked for."""

    def __init__(self, case: str, width: int) -> None:
        self._rng = np.random.default_rng(list(case.encode()))
        self._width = width

    def uniform(self, *shape: int, centre: float = 0.0, spread: float = 1.0) -> np.ndarray:
        """Return float32 values around the centre."""
        return (centre + spread * (2 * self._rng.random(shape) - 1)).astype(np.float32)

    def layer(self, name: str, *shape: int) -> dict[str, np.ndarray]:
        """Return weight and bias of a linear layer or convolution that keeps the variance."""
        fan_in = int(np.prod(shape[1:]))
        return {
            f"{name}.weight": self.uniform(*shape, spread=np.sqrt(3 / fan_in)),
            f"{name}.bias": self.uniform(shape[0], spread=0.1),
        }

    def norm(self, name: str) -> dict[str, np.ndarray]:
        """Return weight and bias of a layer normalisation."""
        return {
            f"{name}.weight": self.uniform(self._width, centre=1, spread=0.3),
            f"{name}.bias": self.uniform(self._width, spread=0.2),
        }

    def scale(self) -> np.ndarray:
        """Return the scale of a layer."""
        return self.uniform(self._width, centre=0.4, spread=0.2)


def official_state(case: str) -> dict[str, np.ndarray]:
    """Random weights under the official keys."""
    width, depth, registers, gated = CASES[case]
    draw = Draw(case, width)
    state = {"cls_token": draw.uniform(1, 1, width), "pos_embed": draw.uniform(1, 1 + GRID**2, width)}
    if registers:
        state["register_tokens"] = draw.uniform(1, registers, width)
    state |= {"mask_token": draw.uniform(1, width)} | draw.layer("patch_embed.proj", width, 3, PATCH, PATCH)
    hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8 if gated else 4 * width
    for i in range(depth):
        block = f"blocks.{i}."
        state |= draw.norm(block + "norm1") | draw.layer(block + "attn.qkv", 3 * width, width)
        state |= draw.layer(block + "attn.proj", width, width)
        state[block + "ls1.gamma"] = draw.scale()
        state |= draw.norm(block + "norm2")
        if gated:
            state |= draw.layer(block + "mlp.w12", 2 * hidden, width)
            state |= draw.layer(block + "mlp.w3", width, hidden)
        else:
            state |= draw.layer(block + "mlp.fc1", hidden, width)
            state |= draw.layer(block + "mlp.fc2", width, hidden)
        state[block + "ls2.gamma"] = draw.scale()
    return state | draw.norm("norm")


def slices(shape: tuple[int, int]) -> np.ndarray:
    """Two slices (2, 1, H, W) in [0, 1], different everywhere."""
    return np.random.default_rng(shape).random((2, 1, *shape)).astype(np.float32)


def digest(*arrays: np.ndarray) -> str:
    """Return the sha256 of the arrays' bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def stretch_position(table: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Position embedding on another grid, as the official code does it for models without registers.

    Cubic convolution (Keys 1981) with a = -0.75 and clamped borders; patch i of n lies at
    (i + 0.5) * 37 / (n + 0.1) - 0.5 of the trained grid.

    Args:
        table: (1, 1 + 37 * 37, channels).
        shape: rows and columns.

    Returns:
        (1, 1 + rows * columns, channels), computed in float64.
    """
    grid = table[0, 1:].reshape(GRID, GRID, -1).astype(np.float64)
    rows, columns = (_stretch_matrix(n) for n in shape)
    resized = np.einsum("ra,cb,abk->rck", rows, columns, grid)
    return np.concatenate([table[0, :1], resized.reshape(shape[0] * shape[1], -1)])[None].astype(np.float32)


def _stretch_matrix(n: int) -> np.ndarray:
    a = -0.75
    matrix = np.zeros((n, GRID))
    for i in range(n):
        x = (i + 0.5) * GRID / (n + 0.1) - 0.5
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            d = abs(x - j)
            if d <= 1:
                weight = (a + 2) * d**3 - (a + 3) * d**2 + 1
            else:
                weight = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            matrix[i, min(max(j, 0), GRID - 1)] += weight
    return matrix
