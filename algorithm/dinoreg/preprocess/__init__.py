"""Per image, never per role: intensities to [0, 1] and the foreground."""
