"""Independent implementations, in numpy and scipy only, of what the library computes."""

import itertools

import numpy as np
from scipy import ndimage

SHAPE = (20, 26, 34)
SPACING = (1.5, 0.8, 2.5)
SHIFT = (3, -5, 7)


def smooth_noise(shape, rng, sigma=2.0, channels=None):
    """Unit-variance smooth noise, (*shape) or (channels, *shape), float32."""
    count = 1 if channels is None else channels
    volumes = [
        ndimage.gaussian_filter(rng.standard_normal(shape), [sigma if n > 1 else 0 for n in shape])
        for _ in range(count)
    ]
    stack = np.stack([v / v.std() for v in volumes]).astype(np.float32)
    return stack[0] if channels is None else stack


def smooth_displacement(shape, rng, amplitude, sigma=5.0):
    """(rank, *shape) with the largest component `amplitude` voxels; 0 along axes of size 1."""
    field = smooth_noise(shape, rng, sigma, channels=len(shape))
    for axis, n in enumerate(shape):
        if n == 1:
            field[axis] = 0
    return field * np.float32(amplitude / np.abs(field).max())


def positions(shape):
    """(rank, *shape) float64 voxel positions."""
    return np.indices(shape).astype(np.float64)


def sample(volume, at):
    """Linear interpolation of (C, *S) at (rank, *T), border values outside."""
    at = np.asarray(at, dtype=np.float64)
    return np.stack(
        [ndimage.map_coordinates(c.astype(np.float64), at, order=1, mode="nearest") for c in volume]
    )


def affine_displacement(matrix, offset, shape):
    """u(x) = matrix (x - centre) + offset, (rank, *shape) float32."""
    centre = (np.array(shape) - 1) / 2
    x = positions(shape) - centre.reshape(-1, *[1] * len(shape))
    u = np.einsum("ab,b...->a...", np.asarray(matrix, dtype=np.float64), x)
    return (u + np.reshape(offset, (-1, *[1] * len(shape)))).astype(np.float32)


def box(volume, width, repeats=1):
    """Replicate-padded box filter of (C, *S), in turn."""
    for _ in range(repeats):
        volume = np.stack(
            [ndimage.uniform_filter(c, width, mode="nearest") for c in volume.astype(np.float64)]
        )
    return volume


def shifted_pair(shape, shift, rng, sigma=2.0, channels=None):
    """Two crops of one larger smooth volume with moving(x + shift) = fixed(x)."""
    margin = [abs(t) for t in shift]
    whole = smooth_noise(tuple(n + 2 * m for n, m in zip(shape, margin, strict=True)), rng, sigma, channels)
    fixed = tuple(slice(m, m + n) for n, m in zip(shape, margin, strict=True))
    moving = tuple(slice(m - t, m - t + n) for n, m, t in zip(shape, margin, shift, strict=True))
    return whole[(..., *fixed)].copy(), whole[(..., *moving)].copy()


def central_half(shape):
    return tuple(slice(n // 4, n - n // 4) for n in shape)


# The 6-neighbourhood and the channel order of the published descriptor (C++ order).
_NEIGHBOURS = ((-1, 0, 0), (0, 0, -1), (0, -1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0))
_CHANNEL_ORDER = (6, 8, 1, 11, 2, 10, 0, 7, 9, 4, 5, 3)


def mind_ssc(image, radius, dilation):
    """MIND-SSC by its definition: D, less its minimum, over its clamped mean, exponentiated."""
    image = image.astype(np.float64)
    if image.ndim == 3:
        neighbours = _NEIGHBOURS
        pairs = [(neighbours[x], neighbours[y]) for x in range(6) for y in range(6) if x > y]
    else:
        neighbours = ((-1, 0), (1, 0), (0, -1), (0, 1))
        pairs = list(itertools.combinations(neighbours, 2))
    pairs = [(a, b) for a, b in pairs if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2]
    padded = np.pad(image, dilation, mode="edge")

    def moved(direction):
        return padded[
            tuple(
                slice(dilation * (1 + d), dilation * (1 + d) + n)
                for d, n in zip(direction, image.shape, strict=True)
            )
        ]

    distance = np.stack(
        [ndimage.uniform_filter((moved(a) - moved(b)) ** 2, 2 * radius + 1, mode="nearest") for a, b in pairs]
    )
    excess = distance - distance.min(axis=0)
    variance = excess.mean(axis=0)
    variance = np.clip(variance, 0.001 * variance.mean(), 1000 * variance.mean())
    features = np.exp(-excess / variance)
    return features[list(_CHANNEL_ORDER)] if image.ndim == 3 else features


def cost_volume(fixed, moving, radius, fixed_weight=None, moving_weight=None):
    """(K, *S): for every candidate in product order, squared distances, neutral where nothing is known."""
    shape = fixed.shape[1:]
    costs, weights = [], []
    for candidate in itertools.product(*(range(-r, r + 1) for r in radius)):
        at = positions(shape).astype(int) + np.reshape(candidate, (-1, *[1] * len(shape)))
        clamped = tuple(np.clip(at[a], 0, n - 1) for a, n in enumerate(shape))
        costs.append(((fixed.astype(np.float64) - moving[(slice(None), *clamped)]) ** 2).sum(axis=0))
        weight = np.ones(shape)
        if fixed_weight is not None:
            weight = weight * fixed_weight[0]
        if moving_weight is not None:
            inside = np.all([(at[a] >= 0) & (at[a] < n) for a, n in enumerate(shape)], axis=0)
            weight = weight * moving_weight[0][clamped] * inside
        weights.append(weight)
    stack, weight = np.stack(costs), np.stack(weights)
    if fixed_weight is not None or moving_weight is not None:
        neutral = (stack * weight).sum() / weight.sum()
        stack = weight * stack + (1 - weight) * neutral
    return box(stack, 3, 2)


def coupled_convex(costs, radius, spacing, coupling):
    """Alternate a brute-force argmin over all candidates and a box filter of 3 cells."""
    shape = costs.shape[1:]
    candidates = np.array(list(itertools.product(*(range(-r, r + 1) for r in radius))), dtype=np.float64)
    metric = (np.array(spacing) / np.mean(spacing)) ** 2

    def best(total):
        return np.moveaxis(candidates[total.argmin(axis=0)], -1, 0)

    field = box(best(costs), 3)
    for weight in coupling:
        difference = candidates.reshape(*candidates.shape, *[1] * len(shape)) - field  # (K, rank, *S)
        penalty = (difference**2 * metric.reshape(1, -1, *[1] * len(shape))).sum(axis=1)
        field = box(best(costs + weight * penalty), 3)
    return field


def invert(field, iterations=30):
    """v with v(y) = -u(y + v(y)), by fixed-point iteration; for fields without folds."""
    inverse = np.zeros_like(field)
    for _ in range(iterations):
        inverse = -sample(field, positions(field.shape[1:]) + inverse).astype(field.dtype)
    return inverse
