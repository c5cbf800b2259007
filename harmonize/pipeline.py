"""`landmark harmonize`: labels per patch shard, then the index, then the portable shards.

Every step looks at what is there already: running again does nothing, and a run that was killed
goes on where it stopped. The seal `shards/index.json` is removed before anything under shards/
changes and written last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc
import pyarrow.parquet as pq

from harmonize.assembling import AssembleTask, assemble_shard, is_whole, plan_shards
from harmonize.event_sources import prior_names
from harmonize.gathering import SourceCounts, gather
from harmonize.indexing import Index, build_index, without_shards
from harmonize.labelling import label_shard, plan_labelling
from harmonize.licences import SourceTerms
from harmonize.published import take_over
from harmonize.publishing import Publication, is_published, publish, seal, unseal
from harmonize.shipping import source_splits
from harmonize.statistics import count_index
from landmark import jobs
from landmark.commits import remove_committed, sweep_shard, sweep_temporaries
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.ledger import readable_mark
from landmark.locks import run_lock
from landmark.manifest import Manifest
from landmark.manifest_file import load_manifest
from landmark.progress import Progress
from landmark.sources import open_roots

Task = TypeVar("Task")


@dataclass(frozen=True)
class HarmonizeSummary:
    """What this run did, and what the dataset holds now.

    Attributes:
        patches: Patches with a row in labels/ (of this part).
        labelled: Of these, patches with at least one class decided.
        shards: Shards written by this run.
        shards_skipped: Shards that were whole already.
        splits: Sensor -> split -> patches.
        dropped: Reason -> patches in no split.
        queries: Number of queries.
        warnings: One line each.
        seconds: Wall time.
    """

    patches: int
    labelled: int
    shards: int = 0
    shards_skipped: int = 0
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    queries: int = 0
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values under the attributes' names."""
        return {
            "patches": self.patches,
            "labelled": self.labelled,
            "shards": self.shards,
            "shards_skipped": self.shards_skipped,
            "splits": self.splits,
            "dropped": self.dropped,
            "queries": self.queries,
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class _How:
    """Where tasks run, and who is told."""

    workers: int | None
    cluster: str | None
    progress: Progress


def harmonize(
    root: Path,
    *,
    labels_only: bool = False,
    part: tuple[int, int] | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress,
) -> HarmonizeSummary:
    """Label all patches of a fetched dataset, decide splits and queries, write shards.

    Args:
        root: The dataset directory.
        labels_only: Stop before the shards; the index then points to patches/ alone, and shards
            that no longer fit it are removed.
        part: (i, n): only label every n-th patch shard, starting at the i-th, from 1. A run
            without it then does the rest.
        workers: See `landmark.jobs.run`.
        cluster: See `landmark.jobs.run`.
        progress: Is told how far the work is.

    Raises:
        InputError: The dataset was not fetched, or not completely.
        LandmarkError: A shard could not be labelled or written.
    """
    started = time.monotonic()
    dataset = Dataset(root)
    dataset.require(dataset.manifest, "fetch MANIFEST --out DATASET")
    dataset.require(dataset.plan, "fetch MANIFEST --out DATASET")
    names = _fetched_shards(dataset)
    how = _How(workers, cluster, progress)
    if part is not None:
        with run_lock(dataset.cache, "harmonize-{}of{}".format(*part)):
            summary = _label_part(dataset, names[part[0] - 1 :: part[1]], how)
    else:
        with run_lock(dataset.cache, "harmonize"):
            summary = _run(dataset, names, labels_only, how)
    return _timed(summary, time.monotonic() - started)


def _timed(summary: HarmonizeSummary, seconds: float) -> HarmonizeSummary:
    return HarmonizeSummary(**{**vars(summary), "seconds": seconds})


def _fetched_shards(dataset: Dataset) -> list[str]:
    """Return the names of all planned patch shards, all of them committed."""
    planned = pc.unique(pq.read_table(dataset.plan, columns=["shard"])["shard"]).to_pylist()
    names = sorted(name for name in planned if name)
    missing = [name for name in names if readable_mark(dataset.patch_shard(name)) is None]
    if missing:
        raise InputError(
            f"{dataset.root}: {len(missing)} of {len(names)} patch shards are missing (first: "
            f"{missing[0]}); run `landmark fetch {dataset.manifest} --out {dataset.root}` first"
        )
    if not names:
        raise InputError(f"{dataset.plan}: plans no patch; there is nothing to label")
    return names


def _label_part(dataset: Dataset, names: Sequence[str], how: _How) -> HarmonizeSummary:
    _label(dataset, names, how)
    known = [
        pq.read_table(dataset.label_shard(name), columns=["known_mask"])["known_mask"].to_numpy()
        for name in names
    ]
    return HarmonizeSummary(
        patches=sum(masks.size for masks in known),
        labelled=sum(int((masks != 0).sum()) for masks in known),
    )


def _run(dataset: Dataset, names: Sequence[str], labels_only: bool, how: _How) -> HarmonizeSummary:
    for folder in (dataset.labels, dataset.shards):
        sweep_temporaries(folder)
    _remove_vanished(dataset, names)
    _label(dataset, names, how)
    manifest = load_manifest(str(dataset.manifest))
    how.progress.start("index", 1)
    index, sources = _decide(dataset, names, manifest)
    tasks = plan_shards(dataset, index.table)
    whole = frozenset(task.shard for task in tasks if is_whole(task))
    todo = [] if labels_only else [task for task in tasks if task.shard not in whole]
    table = without_shards(index.table, whole) if labels_only else index.table
    judgements = None
    if manifest.queries.source == "published":
        judgements = take_over(dataset, manifest, table)
    publication = Publication(
        manifest, sources, table, index.warnings, index.kept_whole, judgements
    )
    if todo or not is_published(dataset, publication):
        unseal(dataset)
    # An outdated shard goes before it is made again: a killed run leaves no split half old.
    publish(dataset, publication, whole)
    how.progress.advance()
    how.progress.finish()
    _assemble(todo, how)
    seal(dataset, publication)
    statistics = count_index(table)
    return HarmonizeSummary(
        patches=table.num_rows,
        labelled=statistics.labelled,
        shards=len(todo),
        shards_skipped=len(whole),
        splits={sensor: statistics.by_split(sensor) for sensor in statistics.sensors},
        dropped=statistics.dropped,
        queries=len(publication.queries),
        warnings=publication.warnings,
    )


def _decide(
    dataset: Dataset, names: Sequence[str], manifest: Manifest
) -> tuple[Index, SourceCounts]:
    """Return the index of all patches; what it was decided from goes when this returns."""
    gathered = gather(
        dataset,
        names,
        captions=manifest.captions,
        terms=SourceTerms.of(manifest),
        priors=prior_names(manifest.events),
    )
    own = source_splits(dataset) if manifest.splits.method == "source" else None
    return build_index(gathered.table, manifest, own), gathered.sources


def _label(dataset: Dataset, names: Sequence[str], how: _How) -> None:
    manifest = load_manifest(str(dataset.manifest))
    roots = open_roots(manifest, dataset, how.progress)
    wanted = set(names)
    tasks = [t for t in plan_labelling(dataset, manifest, roots) if t.shard in wanted]
    how.progress.start("labels", len(tasks))
    _all_done(
        label_shard,
        tasks,
        how,
        units=lambda task: 1,
        name=lambda task: task.shard,
        target=lambda task: dataset.label_shard(task.shard),
    )


def _assemble(tasks: Sequence[AssembleTask], how: _How) -> None:
    if tasks:
        how.progress.start("shards", sum(task.rows for task in tasks))
        _all_done(
            assemble_shard,
            tasks,
            how,
            units=lambda task: task.rows,
            name=lambda task: task.shard,
            target=lambda task: Path(task.root) / task.shard,
        )


def _all_done(
    function: Callable[[Task], Any],
    tasks: Sequence[Task],
    how: _How,
    *,
    units: Callable[[Task], int],
    name: Callable[[Task], str],
    target: Callable[[Task], Path],
) -> None:
    """Run tasks; the first error ends the run (what is committed stays).

    A task that ends its worker is no reason to leave the others: its error comes at the end.
    """
    deadly: list[str] = []
    for outcome in jobs.run(
        function, tasks, workers=how.workers, cluster=how.cluster, note=how.progress.note
    ):
        if isinstance(outcome.error, jobs.DeadlyTaskError):
            deadly.append(f"{name(outcome.task)}: {outcome.error}")
            continue
        if isinstance(outcome.error, LandmarkError):
            raise outcome.error
        if outcome.error is not None:
            raise LandmarkError(
                f"{name(outcome.task)}: {type(outcome.error).__name__}: {outcome.error}"
            ) from outcome.error
        how.progress.advance(units(outcome.task))
    if how.cluster is not None:
        for task in tasks:  # a worker that was killed leaves what it was writing
            sweep_shard(target(task))
    if deadly:
        raise LandmarkError("; ".join(deadly))
    how.progress.finish()


def _remove_vanished(dataset: Dataset, names: Sequence[str]) -> None:
    """Remove labels of patch shards that a new plan no longer has."""
    keep = set(names)
    for path in sorted(dataset.labels.glob("s[12]-[0-9]*.*")):
        if path.stem not in keep:
            remove_committed(dataset.label_shard(path.stem))
