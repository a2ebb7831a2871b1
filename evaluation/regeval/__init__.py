"""Judge displacement fields: overlap, surface distance, landmark error and regularity, in true units.

Independent of the registration that made the fields: it never imports `dinoreg` and warps with scipy, so that
an error in the registration's own warping cannot cancel itself. The numbers are those a reader expects (mm,
true folds); the official Learn2Reg numbers, oddities included, differ and are named differently.

Conventions: arrays in NIfTI index order; pull fields, warped(x) = moving(x + u(x)), (I, J, K, 3), voxels of
the fixed grid, component c along array axis c, identity not included.
"""

from regeval.metrics.hd95 import hd95_mm
from regeval.metrics.jacobian_folds import folding_fraction, jacobian_determinant, sd_log_jacobian
from regeval.metrics.landmark_error import tre_mm
from regeval.metrics.overlap import dice, labels_in_both
from regeval.metrics.warp import warp_labels, warp_landmarks
from regeval.scoring.quick_scores import CaseScores, MeanScores, mean_scores, score_case, score_task

__all__ = [
    "CaseScores",
    "MeanScores",
    "dice",
    "folding_fraction",
    "hd95_mm",
    "jacobian_determinant",
    "labels_in_both",
    "mean_scores",
    "score_case",
    "score_task",
    "sd_log_jacobian",
    "tre_mm",
    "warp_labels",
    "warp_landmarks",
]
