"""Starts: a first displacement from masks, slices, translations or an affine; they can be chained."""
