"""Running shard tasks: in threads, on a dask scheduler, or on a batch system through dask-jobqueue.

Tasks are shards, never patches, so a dataset of 647,000 patches is a few hundred tasks. Any task
may run twice (a lost worker's tasks do): what they write is whole or absent, so that is harmless.
What comes back is small: a number or a line, never pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from landmark.errors import InputError, LandmarkError

Task = TypeVar("Task")
Value = TypeVar("Value")

#: Tasks handed out at once per thread: enough to keep all busy, few enough to stop soon.
_AHEAD = 2


class DeadlyTaskError(LandmarkError):
    """A task ended its worker process again and again, also with nothing else running beside it."""


@dataclass(frozen=True)
class Outcome(Generic[Task, Value]):
    """How one task ended: exactly one of `value` and `error` is set.

    Attributes:
        task: The task as given.
        value: What the function returned.
        error: What it raised.
    """

    task: Task
    value: Value | None = None
    error: BaseException | None = None


def run(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Iterator[Outcome[Task, Value]]:
    """Run `function` on every task and yield outcomes as they come, in no fixed order.

    Args:
        function: A module-level function, so that it can travel to other processes.
        tasks: Plain values, picklable.
        workers: Threads (or dask workers for `cluster="local"`); default: one per CPU.
        cluster: None for threads; `local`, a scheduler address, or a YAML file naming a
            dask-jobqueue class (docs/hpc.md).
        note: Is told what runs where: workers, their memory, the dashboard, jobs that were lost.

    A task that ends its worker process (it ran out of memory, or crashed in native code) is tried
    again elsewhere, at last alone; if it still does, its outcome is a `DeadlyTaskError` and
    all other tasks are done nevertheless. With threads there is one process, and no such shelter.

    Closing the iterator early (an interrupt does) drops what has not begun and waits for what
    has.

    Raises:
        InputError: `cluster` cannot be understood.
        LandmarkError: The scheduler cannot be reached.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: give 1 or more")
    if not tasks:
        return
    if cluster is None:
        yield from _run_threads(function, tasks, workers or os.cpu_count() or 1)
    else:
        # Imports dask: only where it is asked for.
        from landmark.dask_jobs import run_dask

        for task, value, error in run_dask(function, tasks, workers, cluster, note or _silent):
            yield Outcome(task, value=value, error=error)


def _silent(message: str) -> None:
    """Tell nobody."""


def _run_threads(
    function: Callable[[Task], Value], tasks: Sequence[Task], workers: int
) -> Iterator[Outcome[Task, Value]]:
    waiting = list(reversed(tasks))
    running: dict[Future[Value], Task] = {}
    executor = ThreadPoolExecutor(min(workers, len(tasks)), thread_name_prefix="landmark")
    try:
        while waiting or running:
            while waiting and len(running) < workers * _AHEAD:
                task = waiting.pop()
                running[executor.submit(function, task)] = task
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield _outcome(running.pop(future), future)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _outcome(task: Task, future: Future[Value]) -> Outcome[Task, Value]:
    error = future.exception()
    if error is None:
        return Outcome(task, value=future.result())
    return Outcome(task, error=error)


def map_ahead(
    function: Callable[[Task], Value], items: Iterable[Task], threads: int
) -> Iterator[Value]:
    """Yield `function(item)` for all items, in their order, worked on by some threads.

    Items are taken only a few ahead of what is yielded, so an endless supply needs no memory.
    What a call raises is raised in its turn; what has not begun then is dropped.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="landmark")
    under_way: deque[Future[Value]] = deque()
    try:
        for item in items:
            under_way.append(executor.submit(function, item))
            if len(under_way) >= _AHEAD * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
