"""Rigid and affine registration of whole images, in millimetres: by mutual information, from many starts."""
