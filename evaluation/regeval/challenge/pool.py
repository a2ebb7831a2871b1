"""Each job in a process of its own, some at once: what kills one leaves the others alone."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import TypeVar

_Job = TypeVar("_Job")


def in_processes(
    work: Callable[[_Job], None], jobs: Sequence[_Job], count: int
) -> Iterator[tuple[_Job, int]]:
    """Do jobs, at most `count` at once; yields each with its exit code when it has ended, below 0 if killed.

    Args:
        work: a function of a module, since a process of its own has to find it.
        jobs: what to do.
        count: of processes.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    waiting = list(reversed(jobs))
    running: dict[int, tuple[_Job, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < count:
                job = waiting.pop()
                process = context.Process(target=work, args=(job,))
                process.start()
                running[process.sentinel] = (job, process)
            ended = wait(list(running))
            for sentinel in [one for one in running if one in ended]:
                job, process = running.pop(sentinel)
                process.join()
                yield job, process.exitcode or 0
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
