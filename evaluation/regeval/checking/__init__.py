"""Would a submission be accepted, and does it make sense?"""

from regeval.checking.submission_check import Report, check_submission
from regeval.checking.text import format_report

__all__ = ["Report", "check_submission", "format_report"]
