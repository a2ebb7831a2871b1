"""Geometry: positions, sampling, resizing, composition. The only place where coordinates are converted."""

from dinoreg.space.kernels.cache import prepare_kernels

prepare_kernels()  # here, because it has to come before anything that imports numba
