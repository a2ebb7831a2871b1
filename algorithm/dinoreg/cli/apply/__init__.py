"""`dinoreg apply`: a transform applied to an image, a label map, a dose, structures or points."""
