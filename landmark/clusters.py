"""`--cluster`: dask workers on this machine, a scheduler that runs already, or batch jobs."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from landmark.errors import InputError, LandmarkError

Note = Callable[[str], None]

#: Memory of a worker process of `--cluster local`. A shard of 512 patches takes less than half of
#: it (benchmarks/memory_fetch.py); dask ends a worker that goes beyond.
LOCAL_MEMORY = "2 GB"
#: How its workers hand memory back to the system (glibc's variables). dask has them do so at once,
#: and every piece of 128 KiB is then asked for and cleared anew: 40 % more CPU time in shard tasks.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": 1 << 26, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
_PRE_SPAWN = "distributed.nanny.pre-spawn-environ"
#: Seconds between two looks at the batch jobs.
WATCH_S = 5.0
#: A job all of whose workers were away for this long is lost; a nanny restarts one much faster.
LOST_S = 15.0
#: Seconds dask gets to forget a lost job before another is asked for.
FORGET_S = 30.0
#: Times each job may be asked for again; beyond, something is wrong that waiting does not mend.
ASKED_AGAIN = 10
#: Seconds without any worker after which, and again after as many, it is said that there is none.
SILENT_S = 300.0


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


@dataclass(frozen=True)
class Opened:
    """A client, and what is known of its workers.

    Attributes:
        client: Of dask.distributed.
        processes: Worker processes that are expected.
        own: Whether the scheduler is ours alone.
        watch: Looks after batch jobs; None where there are none of ours.
        revive: Starts workers of this machine again that are gone for good; None for others.
    """

    client: Any
    processes: int
    own: bool
    watch: JobWatch | None = None
    revive: Callable[[], None] | None = None


@contextlib.contextmanager
def open_cluster(cluster: str, workers: int | None, note: Note) -> Iterator[Opened]:
    """Open a `--cluster` and close what was started for it.

    Args:
        cluster: `local`, a scheduler address, or a YAML file (docs/hpc.md).
        workers: Worker processes of `local`; default: one per CPU.
        note: Is told what runs where.

    Raises:
        InputError: `cluster` cannot be understood.
        LandmarkError: The scheduler cannot be reached.
    """
    import distributed

    with contextlib.ExitStack() as stack:
        watch, revive = None, None
        if cluster == "local":
            processes = workers or os.cpu_count() or 1
            target = stack.enter_context(_local_cluster(processes))
            revive = partial(target.scale, processes)
            note(f"dask: {processes} worker processes, {LOCAL_MEMORY} of memory each")
        elif "://" in cluster:
            target, processes = cluster, 0
        else:
            spec = read_cluster_file(Path(cluster))
            target = stack.enter_context(_batch_cluster(Path(cluster), spec))
            per_job = int(spec.options.get("processes") or 1)
            processes = spec.jobs * per_job
            memory = spec.options.get("memory", "not stated")
            note(
                f"dask: {spec.jobs} {spec.kind} jobs, {per_job} worker processes and "
                f"{memory} of memory each job"
            )
            watch = JobWatch(target, spec.jobs, note, spec.options.get("log_directory"))
        try:
            client = stack.enter_context(distributed.Client(target, timeout="30s"))
        except OSError as error:
            raise LandmarkError(
                f"no dask scheduler answers at {cluster}: start one or check the address ({error})"
            ) from error
        note(f"dask dashboard: {client.dashboard_link}")
        if watch is not None:
            stack.enter_context(watch)
        found = client.scheduler_info(n_workers=-1)["workers"]
        yield Opened(client, max(1, processes, len(found)), "://" not in cluster, watch, revive)


class JobWatch:
    """Asks for batch jobs again that were lost: cancelled, killed, or out of their time.

    dask-jobqueue itself asks for a job once.
    """

    def __init__(self, batch: Any, jobs: int, note: Note, logs: str | None = None) -> None:
        """Watch a dask-jobqueue cluster that shall have so many jobs; their logs lie in `logs`."""
        self._logs = logs or "log_directory, once the cluster file's options name one"
        self._silent = 0.0
        self._there = False
        self._batch = batch
        self._jobs = jobs
        self._note = note
        self._asked: set[str] = set()
        self._seen: set[str] = set()
        self._away: dict[str, float] = {}
        self._left = jobs * ASKED_AGAIN
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="landmark-jobs", daemon=True)
        self.exhausted = threading.Event()

    def __enter__(self) -> JobWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            lost = self.lost_jobs(WATCH_S)
            self.tell_silence(WATCH_S)
            if not lost:
                continue
            if self._left < len(lost):
                self._note("batch jobs keep getting lost; no more are asked for")
                self.exhausted.set()
                return
            self._left -= len(lost)
            self._note(f"{len(lost)} batch jobs were lost and are asked for again")
            self._replace(lost)

    def _replace(self, lost: list[str]) -> None:
        """Let dask forget lost jobs, then ask for as many new ones.

        A new job may be given the name of a lost one: asked for while that is still known, it
        would count as there already.
        """
        for name in lost:
            self._batch.worker_spec.pop(name, None)
            self._away.pop(name, None)
            self._seen.discard(name)
            self._asked.discard(name)
        self._batch.scale(jobs=len(self._batch.worker_spec))
        forgotten = time.monotonic() + FORGET_S
        while not self._stop.wait(0.1) and set(lost) & set(self._batch.workers):
            if time.monotonic() > forgotten:
                break
        if not self._stop.is_set():
            self._batch.scale(jobs=self._jobs)

    def lost_jobs(self, elapsed: float) -> list[str]:
        """Return jobs whose workers were there and have been away for `LOST_S`.

        A job that came and went between two calls was never seen, but dask drops it from
        `workers`. One whose workers never signed in may still wait in the queue.

        Args:
            elapsed: Seconds since the last call.
        """
        here = {str(w["name"]) for w in self._batch.scheduler_info["workers"].values()}
        self._there = bool(here)
        lost = []
        for name, spec in list(self._batch.worker_spec.items()):
            if here & worker_names(name, spec):
                self._seen.add(name)
                self._away.pop(name, None)
            elif name in self._seen or name in self._asked - set(self._batch.workers):
                self._away[name] = self._away.get(name, 0.0) + elapsed
                if self._away[name] >= LOST_S:
                    lost.append(name)
        self._asked |= set(self._batch.workers)
        return lost

    def tell_silence(self, elapsed: float) -> None:
        """Say so where there has been no worker for long: dask cannot tell why.

        Jobs may wait in the queue, or each may have died before its worker began.

        Args:
            elapsed: Seconds since the last call.
        """
        self._silent = 0.0 if self._there else self._silent + elapsed
        if self._silent < SILENT_S:
            return
        self._silent = 0.0
        self._note(
            f"for {SILENT_S / 60:.0f} minutes there has been no worker: the jobs wait in the queue "
            f"(squeue, qstat), or died at their start (logs: {self._logs})"
        )


def worker_names(name: object, spec: Mapping[str, Any]) -> set[str]:
    """Return the names of the workers of one job as dask knows them."""
    return {f"{name}{suffix}" for suffix in spec.get("group", [""])}


def _local_cluster(processes: int) -> Any:
    """Return worker processes of this machine."""
    import dask
    import distributed

    environment = dask.config.get(_PRE_SPAWN) | _MALLOC
    with dask.config.set({_PRE_SPAWN: environment}):
        return distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            memory_limit=LOCAL_MEMORY,
            dashboard_address="127.0.0.1:0",
        )


def _batch_cluster(path: Path, spec: ClusterFile) -> Any:
    """Return the dask-jobqueue cluster of a file, with its jobs asked for."""
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
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: options do not fit {spec.kind}: {error}") from None
    try:
        batch.scale(jobs=spec.jobs)
    except BaseException:
        batch.close()
        raise
    return batch


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
