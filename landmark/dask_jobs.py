"""Shard tasks on dask.distributed: lost workers, deadly tasks, one bound per host for all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FuturesTimeoutError
from dataclasses import dataclass
from typing import Any, TypeVar

from landmark.clusters import Note, Opened, open_cluster
from landmark.errors import LandmarkError
from landmark.jobs import DeadlyTaskError
from landmark.throttle import PROCESSES_VARIABLE, shared_throttle

Task = TypeVar("Task")
Value = TypeVar("Value")

#: Attempts dask makes for a task that raises something unforeseen, beyond the first.
_RETRIES = 2
#: Seconds after which a silent wait looks whether there are still workers to wait for.
_LOOK_S = 10.0


@dataclass(frozen=True)
class _Refusal:
    """A LandmarkError on its way home: as a value it is not retried, and needs no pickling."""

    kind: type[LandmarkError]
    message: str


def run_dask(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    workers: int | None,
    cluster: str,
    note: Note,
) -> Iterator[tuple[Task, Value | None, BaseException | None]]:
    """Run tasks as `landmark.jobs.run` says; yield (task, value, error)."""
    from distributed.scheduler import KilledWorker

    with open_cluster(cluster, workers, note) as opened:
        suspects: list[Task] = []
        for task, value, error in _submit(opened, function, tasks):
            if isinstance(error, KilledWorker):
                suspects.append(task)
            else:
                yield task, value, error
        if suspects:
            note(f"{len(suspects)} tasks lost their worker too often and are tried one by one")
            if opened.own:
                opened.client.run_on_scheduler(_blame_at_once)
        for suspect in suspects:
            # Alone, it cannot be blamed for another's crash, nor take another down.
            for task, value, error in _submit(opened, function, [suspect]):
                if isinstance(error, KilledWorker):
                    error = DeadlyTaskError(
                        "its worker process died at every attempt, also alone (out of memory, or a "
                        "crash in native code)"
                    )
                yield task, value, error


def _blame_at_once(dask_scheduler: Any) -> None:
    """Let a scheduler of ours give up a task at the first worker it kills."""
    dask_scheduler.allowed_failures = 0


def _submit(
    opened: Opened, function: Callable[[Task], Value], tasks: Sequence[Task]
) -> Iterator[tuple[Task, Value | None, BaseException | None]]:
    from distributed import as_completed

    client = opened.client
    futures = {
        client.submit(_guarded, function, task, opened.processes, pure=False, retries=_RETRIES): (
            task
        )
        for task in tasks
    }
    try:
        while futures:
            try:
                for future in as_completed(list(futures), timeout=_LOOK_S):
                    task = futures.pop(future)
                    yield (task, *_result(future))
            except (TimeoutError, FuturesTimeoutError):
                _check_alive(opened)
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.cancel(list(futures))


def _guarded(function: Callable[[Task], Value], task: Task, processes: int) -> Value | _Refusal:
    """Run a task in a worker process."""
    # An operator who set the number himself knows better how many share the limits.
    if PROCESSES_VARIABLE not in os.environ:
        shared_throttle().divide(processes)
    try:
        return function(task)
    except LandmarkError as error:
        return _Refusal(type(error), str(error))


def _result(future: Any) -> tuple[Any, BaseException | None]:
    error = future.exception()
    if error is not None:
        return None, error
    value = future.result()
    if isinstance(value, _Refusal):
        return None, value.kind(value.message)
    return value, None


def _check_alive(opened: Opened) -> None:
    """Mend what keeps tasks waiting; raise where waiting is of no use any more."""
    if opened.client.status not in ("running", "connecting", "newly-created"):
        raise LandmarkError("the dask scheduler is gone; run the same command again to resume")
    if opened.revive is not None:
        # A worker that ends at the very moment dask ends it takes its nanny along; dask then counts
        # it as wanted no more, and with all of them gone would wait forever.
        opened.revive()
    watch = opened.watch
    if (
        watch is not None
        and watch.exhausted.is_set()
        and not opened.client.scheduler_info(n_workers=-1)["workers"]
    ):
        raise LandmarkError(
            "all batch jobs were lost, again and again: see the logs of the batch system, then "
            "run the same command again to resume"
        )
