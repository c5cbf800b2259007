"""`landmark fetch`: manifest -> plan -> patch shards, resumable at every shard."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark import clusters, jobs
from landmark.answers import Answers
from landmark.commits import remove_committed, sweep_shard, sweep_temporaries, write_atomic
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError, TooManyHolesError
from landmark.ledger import Committed, committed_shards, readable_mark, write_views
from landmark.locks import run_lock
from landmark.manifest import Manifest
from landmark.manifest_file import diff, dump_manifest, load_manifest
from landmark.patches import (
    FINGERPRINTED,
    FetchTask,
    abandon_shard,
    fetch_shard,
    shard_fingerprint,
)
from landmark.plan import staged_plan
from landmark.plan_changes import plan_changes
from landmark.plan_file import PlanFile
from landmark.plan_summary import SUMMARY_COLUMNS, PlanSummary, summarise
from landmark.progress import Progress
from landmark.replanning import keep_unchanged, sweep_parked
from landmark.sources import Roots, open_roots
from landmark.throttle import stated_processes
from landmark.upstream import upstream_changes


@dataclass(frozen=True)
class FetchOptions:
    """How to fetch.

    Attributes:
        plan_only: Stop after the plan.
        locked: Use the plan alone; end with what changed upstream, if anything did.
        replan: Make a new plan, keeping every shard whose rows did not change.
        refresh: Ask catalogs again instead of using answers kept in the cache.
        limit: Plan at most this many patches, spread over the grid by a hash of the cell.
        retry_failed: Make shards with holes again.
        max_failed: Holes allowed before the exit code is 3: a count (`12`) or a share (`1%`).
        part: (i, n): only every n-th shard, starting at the i-th, from 1.
        workers: Threads or dask workers.
        cluster: See `landmark.jobs.run`.
    """

    plan_only: bool = False
    locked: bool = False
    replan: bool = False
    refresh: bool = False
    limit: int | None = None
    retry_failed: bool = False
    max_failed: str = "1%"
    part: tuple[int, int] | None = None
    workers: int | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class FetchSummary:
    """What this run did.

    Attributes:
        plan: What the plan holds; None unless only the plan was asked for.
        patches: Patches written by this run.
        shards: Shards written by this run.
        shards_skipped: Shards that were whole already.
        filtered: Patches this run's shards left out, by rule of the manifest.
        failures: Holes of this run's shards.
        holes: Holes of the whole dataset.
        seconds: Wall time.
        excess: Why the holes are too many, or "".
    """

    plan: PlanSummary | None = None
    patches: int = 0
    shards: int = 0
    shards_skipped: int = 0
    filtered: dict[str, int] | None = None
    failures: int = 0
    holes: int = 0
    seconds: float = 0.0
    excess: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return `{patches, shards, shards_skipped, filtered, failures, seconds}`."""
        return {
            "patches": self.patches,
            "shards": self.shards,
            "shards_skipped": self.shards_skipped,
            "filtered": self.filtered or {},
            "failures": self.failures,
            "seconds": round(self.seconds, 3),
        }

    def raise_for_holes(self) -> None:
        """Raise TooManyHolesError if the dataset has more holes than allowed."""
        if self.excess:
            raise TooManyHolesError(self.excess)


def fetch(
    manifest: Manifest, root: Path, options: FetchOptions, progress: Progress
) -> FetchSummary:
    """Fetch a dataset: plan it if that is still to do, then make every missing shard.

    Raises:
        InputError: Wrong options, a dataset planned from another manifest, an empty search.
        LandmarkError: Upstream changed (`locked`), or a shard could not be written.
    """
    started = time.monotonic()
    dataset = Dataset(root)
    allowed = _parse_max_failed(options.max_failed)
    _check_options(options, dataset)
    fresh = not root.exists()
    name = "fetch" if options.part is None else "fetch-{}of{}".format(*options.part)
    try:
        with run_lock(dataset.cache, name):
            roots = open_roots(manifest, dataset, progress)
            begun = time.monotonic()
            plan = _planned(manifest, dataset, roots, options, progress)
            took = time.monotonic() - begun
            if options.locked:
                _check_upstream(plan, roots)
            if options.plan_only:
                summary = summarise(plan.groups(SUMMARY_COLUMNS), plan_seconds=took)
                return FetchSummary(plan=summary, seconds=time.monotonic() - started)
            return _run(manifest, dataset, plan, options, allowed, progress, started)
    except InputError:
        # What was downloaded is kept: it may be 100 GB, and the manifest is quickly mended.
        if fresh and not (dataset.cache / "archives").exists():
            shutil.rmtree(root, ignore_errors=True)
        raise


def _check_options(options: FetchOptions, dataset: Dataset) -> None:
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit {options.limit}: give 1 or more")
    if options.part is not None and not dataset.plan.exists():
        raise InputError("--part needs a plan: run `landmark fetch ... --plan` first")
    if options.part is not None and options.replan:
        raise InputError("--part and --replan exclude each other: plan once, then run the parts")
    if options.locked and options.replan:
        raise InputError("--locked and --replan exclude each other")
    if options.locked and not dataset.plan.exists():
        raise InputError(f"--locked needs {dataset.plan}: put the plan there")


def _parse_max_failed(text: str) -> tuple[float, bool]:
    """Return (number, is_share) of `--max-failed`: `12`, `1%` or `0.01`."""
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
        elif "." in text:
            share = float(text)
        else:
            count = int(text)
            if count < 0:
                raise ValueError
            return float(count), False
        if not 0 <= share <= 1:
            raise ValueError
    except ValueError:
        raise InputError(
            f"--max-failed {text}: give a count (12) or a share (1% or 0.01)"
        ) from None
    return share, True


def _planned(
    manifest: Manifest, dataset: Dataset, roots: Roots, options: FetchOptions, progress: Progress
) -> PlanFile:
    """Return the plan: the one on disk where it is this manifest's, else a new one."""
    exists = dataset.plan.exists() and dataset.manifest.exists()
    if exists and not options.replan:
        _check_same_manifest(manifest, dataset)
        limit = PlanFile(dataset.plan).limit()
        if options.limit is not None and limit != options.limit:
            raise InputError(
                f"--limit {options.limit}: {dataset.root} was planned with "
                f"{'no limit' if limit is None else f'--limit {limit}'}; add --replan"
            )
    elif not options.locked:
        answers = Answers(dataset.cache / "answers", refresh=options.refresh)
        with staged_plan(
            dataset.plan, manifest, roots, progress, limit=options.limit, answers=answers
        ) as new:
            if exists:
                for line in _changes(dataset, new):
                    progress.note(line)
                keep_unchanged(dataset, _fingerprints(manifest, new))
        # The manifest is the plan's commit mark: a plan without it is made again.
        write_atomic(dataset.manifest, dump_manifest(manifest))
    return PlanFile(dataset.plan)


def _changes(dataset: Dataset, new: PlanFile) -> list[str]:
    """Return what a new plan changes, in words; nothing where the old one cannot be read."""
    try:
        return plan_changes(PlanFile(dataset.plan), new).lines()
    except InputError:
        return []


def _check_same_manifest(manifest: Manifest, dataset: Dataset) -> None:
    changed = diff(load_manifest(str(dataset.manifest)), manifest)
    if changed:
        raise InputError(
            f"{dataset.root} was planned from another manifest; changed: {', '.join(changed)}. "
            "Use --replan to plan again (unchanged shards are kept) or another --out"
        )


def _check_upstream(plan: PlanFile, roots: Roots) -> None:
    changes = upstream_changes(plan.kept_scenes(), roots)
    if changes:
        more = f" (and {len(changes) - 3} more)" if len(changes) > 3 else ""
        raise LandmarkError(f"--locked: changed upstream: {'; '.join(changes[:3])}{more}")


def _fingerprints(manifest: Manifest, plan: PlanFile) -> dict[str, str]:
    """Return the fingerprint of each shard, shards in order."""
    shards = plan.shards(FINGERPRINTED)
    found = {name: shard_fingerprint(manifest, rows) for name, rows in shards}
    return dict(sorted(found.items()))


def _run(
    manifest: Manifest,
    dataset: Dataset,
    plan: PlanFile,
    options: FetchOptions,
    allowed: tuple[float, bool],
    progress: Progress,
    started: float,
) -> FetchSummary:
    fingerprints = _fingerprints(manifest, plan)
    names = list(fingerprints)
    if options.part is not None:
        names = names[options.part[0] - 1 :: options.part[1]]
    else:
        sweep_temporaries(dataset.root)
        sweep_parked(dataset)
        _remove_unplanned(dataset, fingerprints)
    todo = [n for n in names if not _is_whole(dataset, n, fingerprints[n], options.retry_failed)]
    sizes = plan.shard_sizes()
    made: list[str] = []
    progress.start("fetch", sum(sizes[name] for name in todo))
    root, processes = str(dataset.root.resolve()), _processes(options)
    tasks = [FetchTask(root, name, fingerprints[name], processes) for name in todo]
    for outcome in jobs.run(
        fetch_shard, tasks, workers=options.workers, cluster=options.cluster, note=progress.note
    ):
        holes = outcome.value or 0
        if isinstance(outcome.error, jobs.DeadlyTaskError):
            holes = abandon_shard(outcome.task, str(outcome.error))
        elif outcome.error is not None:
            raise _shard_error(outcome.task.shard, outcome.error)
        made.append(outcome.task.shard)
        progress.advance(sizes[outcome.task.shard], holes=holes)
    if options.cluster is not None:
        for task in tasks:  # a worker that was killed leaves what it was writing
            sweep_shard(dataset.patch_shard(task.shard))
    progress.finish()
    committed = committed_shards(dataset) if options.part else write_views(dataset)
    written = Committed({name: committed.marks[name] for name in made})
    return FetchSummary(
        patches=written.patches,
        shards=len(made),
        shards_skipped=len(names) - len(todo),
        filtered=written.filtered_by_rule(),
        failures=written.holes,
        holes=committed.holes,
        seconds=time.monotonic() - started,
        excess=_excess(committed.holes, sum(sizes.values()), allowed, dataset),
    )


def _processes(options: FetchOptions) -> int:
    """Return how many processes share what a host allows; `LANDMARK_PROCESSES` says it better."""
    started = 1
    if options.cluster == "local":
        started = options.workers or os.cpu_count() or 1
    elif options.cluster is not None and "://" not in options.cluster:
        started = clusters.read_cluster_file(Path(options.cluster)).jobs
    return stated_processes() or started


def _is_whole(dataset: Dataset, name: str, fingerprint: str, retry_failed: bool) -> bool:
    mark = readable_mark(dataset.patch_shard(name))
    if mark is None or mark.fingerprint != fingerprint:
        return False
    return not (retry_failed and mark.holes)


def _remove_unplanned(dataset: Dataset, planned: Iterable[str]) -> None:
    keep = set(planned)
    for path in dataset.patches.glob("s[12]-[0-9]*.*"):
        if path.stem not in keep:
            remove_committed(dataset.patch_shard(path.stem))


def _shard_error(name: str, error: BaseException) -> BaseException:
    if isinstance(error, LandmarkError):
        return error
    failure = LandmarkError(f"shard {name}: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _excess(holes: int, planned: int, allowed: tuple[float, bool], dataset: Dataset) -> str:
    number, is_share = allowed
    limit = number * planned if is_share else number
    if holes <= limit:
        return ""
    return (
        f"{holes} of {planned} patches are holes, more than --max-failed allows ({limit:g}); "
        f"see {dataset.failures}, then `landmark fetch ... --retry-failed`"
    )
