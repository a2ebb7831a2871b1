"""Pictures of registrations for people to look at."""

from dinoreg.report.picture import draw_pair

__all__ = ["draw_pair"]
