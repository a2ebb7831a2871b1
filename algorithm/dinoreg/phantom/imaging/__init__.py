"""How a scanner shows a phantom: voxels, intensities, noise and texture."""
