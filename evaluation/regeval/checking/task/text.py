"""The report on a task for people."""

from regeval.checking.task.task_check import TaskReport
from regeval.checking.text import fault_lines


def format_task_report(name: str, report: TaskReport) -> str:
    """Return the report as text; a fault that several places have is said once."""
    head = (
        f"{name}: {report.pairs} pairs, {report.with_labels} with label maps, "
        f"{report.with_points} with landmarks"
    )
    verdict = "would score participants wrongly" if report.faults else "nothing speaks against the task"
    lines = [head, "", *fault_lines(report.faults), *(f"  note: {note}" for note in report.notes)]
    return "\n".join([*lines, "", verdict]) + "\n"
