"""What a field does to the images of a pair, as one small picture a person can judge at a glance."""

from regeval.pictures.draw_case import draw_case

__all__ = ["draw_case"]
