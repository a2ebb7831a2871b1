"""Closed-form transforms from pairs of landmarks: rigid, affine, thin-plate spline; batched, differentiable.

Convention: a transform maps points from where `source` landmarks lie to where `target` landmarks lie. With
the landmarks of the fixed image as source and those of the moving image as target it is a pull transform.
Points are (B, N, 2) in any isotropic unit, component a along array axis a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dinoreg.errors import NumericalError
from regtask.errors import Fault

TransformKind = Literal["rigid", "affine", "tps"]

# Squared distances below it count as 0: r^2 log r and its derivative vanish there.
_TINY = 1e-20


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """y = matrix (x, 1) + sum_n U(|x - centres_n|) weights_n, with U(r) = r^2 log r.

    Attributes:
        matrix: (B, 2, 3), the linear part and the translation.
        centres: (B, N, 2); N = 0 for a rigid or affine transform.
        weights: (B, N, 2).
    """

    matrix: Tensor
    centres: Tensor
    weights: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Map (B, P, 2) points."""
        mapped = points @ self.matrix[:, :, :2].mT + self.matrix[:, None, :, 2]
        if self.centres.shape[1]:
            mapped = mapped + _kernel(points, self.centres) @ self.weights
        return mapped


def solve(kind: TransformKind, source: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Transform:
    """Return the transform of a kind that best takes `source` to `target` in the least-squares sense.

    Args:
        kind: "rigid", "affine" or "tps".
        source: (B, N, 2).
        target: (B, N, 2).
        smoothing: lambda of the thin-plate spline; no effect on the others.

    Raises:
        ValueError: another shape, or too few landmarks.
        NumericalError: landmarks on one line or on one point.
    """
    if source.shape != target.shape or source.ndim != 3 or source.shape[2] != 2 or source.shape[1] < 3:
        raise ValueError(
            f"landmarks: expected two (B, N, 2) with N of 3 or more, got {source.shape}, {target.shape}"
        )
    if kind == "rigid":
        return solve_rigid(source, target)
    if kind == "affine":
        return solve_affine(source, target)
    return solve_tps(source, target, smoothing=smoothing)


def solve_rigid(source: Tensor, target: Tensor) -> Transform:
    """Rotation and translation of least squared distance (Kabsch 1976; Umeyama 1991).

    In the plane the singular value decomposition reduces to one angle, the argument of the sum of
    conj(source) target; its gradient has no singularity where singular values meet, and no reflection can
    come out.
    """
    source_mean, target_mean = (points.mean(dim=1, keepdim=True) for points in (source, target))
    a, b = source - source_mean, target - target_mean
    along = (a * b).sum(dim=(1, 2))
    across = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(dim=1)
    angle = torch.atan2(across, along)
    cos, sin = angle.cos(), angle.sin()
    linear = torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)
    return _linear(linear, source_mean, target_mean)


def solve_affine(source: Tensor, target: Tensor) -> Transform:
    """Affine transform of least squared distance, by the normal equations of the centred landmarks."""
    source_mean, target_mean = (points.mean(dim=1, keepdim=True) for points in (source, target))
    a, b = (source - source_mean).double(), (target - target_mean).double()
    linear = _solved(a.mT @ a, a.mT @ b).mT.to(source.dtype)
    return _linear(linear, source_mean, target_mean)


def solve_tps(source: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Transform:
    """Thin-plate spline through or, with smoothing, near the landmarks (Duchon 1977; Bookstein 1989).

    Solves (K + lambda I) w + P a = target, P^T w = 0 with K_mn = U(|source_m - source_n|): the convention of
    scipy's `RBFInterpolator`. Lambda 0 interpolates; large lambda tends to the affine transform. Lambda
    belongs to the unit of the points; here they span [-1, 1].
    """
    batch, count, _ = source.shape
    points = source.double()
    kernel = _kernel(points, points) + smoothing * torch.eye(count, dtype=points.dtype, device=points.device)
    linear = torch.cat([points, torch.ones_like(points[..., :1])], dim=2)  # (B, N, 3)
    system = torch.cat(
        [
            torch.cat([kernel, linear], dim=2),
            torch.cat([linear.mT, linear.new_zeros(batch, 3, 3)], dim=2),
        ],
        dim=1,
    )
    right = torch.cat([target.double(), linear.new_zeros(batch, 3, 2)], dim=1)
    solution = _solved(system, right).to(source.dtype)
    return Transform(solution[:, count:].mT, source, solution[:, :count])


def fit_residual(source: Tensor, target: Tensor, kind: TransformKind = "affine") -> Tensor:
    """Return the root mean squared distance, (B,), that a transform of a kind leaves between landmarks."""
    left = solve(kind, source, target).apply(source) - target
    return left.square().sum(dim=2).mean(dim=1).sqrt()


def _linear(linear: Tensor, source_mean: Tensor, target_mean: Tensor) -> Transform:
    offset = target_mean.mT - linear @ source_mean.mT
    none = source_mean[:, :0]
    return Transform(torch.cat([linear, offset], dim=2), none, none)


def _kernel(points: Tensor, centres: Tensor) -> Tensor:
    """Return U(|points - centres|), (B, P, N)."""
    # Differences, not the expansion of the square: that one loses all digits where points meet centres.
    squared = (points[:, :, None, 0] - centres[:, None, :, 0]).square() + (
        points[:, :, None, 1] - centres[:, None, :, 1]
    ).square()
    return 0.5 * squared * squared.clamp_min(_TINY).log()


def _solved(system: Tensor, right: Tensor) -> Tensor:
    try:
        solution: Tensor = torch.linalg.solve(system, right)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise NumericalError(_degenerate(str(error))) from error
    if not bool(torch.isfinite(solution).all()):
        raise NumericalError(_degenerate("values that are not finite"))
    return solution


def _degenerate(got: str) -> Fault:
    return Fault(
        "no transform fits the landmarks",
        "closed form",
        expected="landmarks that differ and are not on one line",
        got=got,
        remedy="use smoothing above 0, or a rigid transform",
    )
