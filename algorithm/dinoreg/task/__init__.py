"""A whole task: every pair of a dataset description, with manifest, progress and pictures."""
