"""What intensities are worth: how far those of two images agree, and a last optimisation by them."""
