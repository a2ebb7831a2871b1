"""Is the task itself sound, before anybody is scored on it?"""

from regeval.checking.task.task_check import TaskReport, check_task
from regeval.checking.task.text import format_task_report

__all__ = ["TaskReport", "check_task", "format_task_report"]
