"""Pretraining of the 3D encoder: synthetic anatomy, two views of it, self-supervised objectives."""
