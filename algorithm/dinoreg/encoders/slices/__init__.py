"""Features of volumes from 2D encoders, slice by slice."""
