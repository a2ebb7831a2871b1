"""Geometry: positions, sampling, resizing, composition. The only place where coordinates are converted."""
