"""Transforms between programs: read, written, inverted, composed, differentiated, described.

Convention of all of it: a transform leads from points of fixed to points of moving, LPS mm, as in ITK. Beyond
the lattice of a displacement field, and beyond that of a B-spline, ITK's transforms move nothing.
"""
