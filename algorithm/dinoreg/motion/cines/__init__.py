"""Sequences of frames: reading them, the window around what moves, and its threshold."""
