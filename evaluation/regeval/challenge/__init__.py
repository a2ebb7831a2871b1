"""A whole challenge: every submission in a folder checked, evaluated, ranked, as static pages."""

from regeval.challenge.drawing import draw_pictures
from regeval.challenge.judging import JudgedTask, judge_challenge
from regeval.challenge.settings import Settings, refuse_unpublished
from regeval.challenge.site import write_site

__all__ = ["JudgedTask", "Settings", "draw_pictures", "judge_challenge", "refuse_unpublished", "write_site"]
