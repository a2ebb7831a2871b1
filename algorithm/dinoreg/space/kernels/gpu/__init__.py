"""The kernels of a CUDA device, in Triton; see `dinoreg.space.kernels.choice` for when they are used."""
