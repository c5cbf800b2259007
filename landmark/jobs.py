"""Running shard tasks: in threads, on a dask scheduler, or on a batch system through dask-jobqueue.

Tasks are shards, never patches, so a dataset of 647,000 patches is a few hundred tasks. Any task
may run twice (a lost worker's tasks do): what they write is whole or absent, so that is harmless.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from landmark.errors import InputError, LandmarkError

Task = TypeVar("Task")
Value = TypeVar("Value")

#: Attempts dask makes for a task that raises, beyond the first.
RETRIES = 2
#: Tasks handed out at once per thread: enough to keep all busy, few enough to stop soon.
_AHEAD = 2


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
        note: Is told where the dask dashboard is.

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
        yield from _run_dask(function, tasks, workers, cluster, note)


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


def _run_dask(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    workers: int | None,
    cluster: str,
    note: Callable[[str], None] | None,
) -> Iterator[Outcome[Task, Value]]:
    from distributed import as_completed

    with _client(cluster, workers) as client:
        if note is not None:
            note(f"dask dashboard: {client.dashboard_link}")
        futures = {
            client.submit(function, task, pure=False, retries=RETRIES): task for task in tasks
        }
        try:
            for future in as_completed(list(futures)):
                task = futures.pop(future)
                error = future.exception()
                if error is None:
                    yield Outcome(task, value=future.result())
                else:
                    yield Outcome(task, error=error)
        finally:
            client.cancel(list(futures))


@contextlib.contextmanager
def _client(cluster: str, workers: int | None) -> Iterator[Any]:
    import distributed

    with contextlib.ExitStack() as stack:
        if cluster == "local":
            target = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers or os.cpu_count() or 1,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                )
            )
        elif "://" in cluster:
            target = cluster
        else:
            target = stack.enter_context(_batch_cluster(Path(cluster)))
        try:
            client = stack.enter_context(distributed.Client(target, timeout="30s"))
        except OSError as error:
            raise LandmarkError(
                f"no dask scheduler answers at {cluster}: start one or check the address ({error})"
            ) from error
        yield client


def _batch_cluster(path: Path) -> Any:
    """Return the dask-jobqueue cluster a YAML file describes, with its jobs asked for."""
    spec = read_cluster_file(path)
    try:
        import dask_jobqueue
    except ImportError:
        raise InputError(
            f"{path}: needs the package dask-jobqueue; install landmark[hpc]"
        ) from None
    kind = getattr(dask_jobqueue, spec.kind, None)
    if not isinstance(kind, type) or not spec.kind.endswith("Cluster"):
        raise InputError(f"{path}: class {spec.kind!r} is not one of dask_jobqueue's clusters")
    try:
        batch = kind(**spec.options)
    except TypeError as error:
        raise InputError(f"{path}: options do not fit {spec.kind}: {error}") from None
    batch.scale(jobs=spec.jobs)
    return batch


@dataclass(frozen=True)
class ClusterFile:
    """A batch cluster as its YAML file states it.

    Attributes:
        kind: Class name in dask_jobqueue, e.g. `SLURMCluster`.
        jobs: How many batch jobs to ask for.
        options: Keyword arguments of the class.
    """

    kind: str
    jobs: int
    options: dict[str, Any]


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a cluster YAML: `class`, `jobs`, `options`.

    Raises:
        InputError: The file is missing, not YAML, or has other keys.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"--cluster {path}: no such file; give `local`, an address such as "
            "tcp://host:8786, or a YAML file"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(raw, dict) or set(raw) - {"class", "jobs", "options"} or "class" not in raw:
        raise InputError(f"{path}: must hold the keys class, jobs and options")
    jobs, options = raw.get("jobs", 1), raw.get("options") or {}
    if not isinstance(jobs, int) or jobs < 1 or not isinstance(options, dict):
        raise InputError(f"{path}: jobs must be a whole number from 1, options a mapping")
    return ClusterFile(kind=str(raw["class"]), jobs=jobs, options=options)
