"""Configuration, one pair from images to displacement, and the loop over a task."""
