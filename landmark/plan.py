"""The plan: one row per candidate patch, kept or not and why. The lockfile of a dataset.

`plan.parquet` is a GeoParquet file. It is a function of the manifest and of what the catalog and
the file headers say, never of the order of a search answer. What is decided is held in narrow
columns; rows are made in full one row group at a time, as they are written.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from landmark.answers import Answers
from landmark.archives import find_images
from landmark.candidates import Candidates, Gatherer
from landmark.catalog import find_scenes
from landmark.choosing import KEEP, Choice, choose_scenes, lacking_polarisation
from landmark.commits import atomic_path
from landmark.deciding import Decisions, decide
from landmark.drawing import Sampler
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import Manifest
from landmark.plan_file import METADATA_KEY, PLAN_VERSION, PlanFile
from landmark.plan_rows import PLAN_SCHEMA, row_groups
from landmark.progress import Progress
from landmark.scene_facts import UNREADABLE, complete_scenes
from landmark.scene_table import SceneTable, SceneTableBuilder
from landmark.schema import geo_metadata
from landmark.sources import Roots
from landmark.stac_items import open_area

#: Of the file that scenes' texts wait in.
_BUFFER_BYTES = 1 << 20
#: Columns with few distinct values; ids, coordinates and outlines gain nothing by a dictionary.
_DICTIONARIES = [
    "status", "reason", "sensor", "platform", "datetime", "frame", "epsg", "mgrs", "orbit_state",
    "relative_orbit", "polarisations", "cloud", "baseline", "offset", "offset_evidence",
    "resampling", "shard", "item", "collection", "scene",
]  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """What catalogs and archives hold.

    Attributes:
        cells: Candidate patches.
        scenes: Their scenes.
        unreadable: Item and reason of each scene whose files cannot be read, by item.
    """

    cells: Candidates
    scenes: SceneTable
    unreadable: tuple[tuple[str, str], ...]


def make_plan(
    path: Path,
    manifest: Manifest,
    roots: Roots,
    progress: Progress,
    *,
    limit: int | None = None,
    answers: Answers | None = None,
) -> PlanFile:
    """Write the plan of a manifest, whole or not at all; equal plans are equal bytes.

    Args:
        path: Where to.
        manifest: What to plan.
        roots: Where its catalogs lie.
        progress: Told of searches and headers.
        limit: Keep at most this many patches, cells chosen by a hash of their name.
        answers: Where answers of APIs are kept; None: nowhere.

    Raises:
        InputError: Nothing is found, no patch is left, or a local file cannot be read.
        LandmarkError: A catalog does not answer.
    """
    with staged_plan(path, manifest, roots, progress, limit=limit, answers=answers):
        return PlanFile(path)


@contextlib.contextmanager
def staged_plan(
    path: Path,
    manifest: Manifest,
    roots: Roots,
    progress: Progress,
    *,
    limit: int | None = None,
    answers: Answers | None = None,
) -> Iterator[PlanFile]:
    """Give the plan of a manifest beside the one at `path`, whose place it takes in the end.

    As `make_plan`; an error in between leaves `path` as it was.
    """
    with atomic_path(path) as temporary:
        with tempfile.TemporaryFile(dir=path.parent, buffering=_BUFFER_BYTES) as texts:
            found = _find(manifest, roots, progress, answers, texts)
            sampler = Sampler(manifest.sampling, roots, manifest.seed)
            decisions = decide(found.cells, found.scenes, manifest, limit, sampler)
            for message in sampler.notes:
                progress.note(message)
            _require_kept(decisions)
            _write(temporary, found, decisions, _notes(manifest, limit, found))
        yield PlanFile(temporary)


def _find(
    manifest: Manifest, roots: Roots, progress: Progress, answers: Answers | None, texts: IO[bytes]
) -> _Found:
    """Return all candidates and scenes; the scenes' texts go to a file."""
    gatherer = Gatherer(manifest, open_area(manifest.area))
    builder = SceneTableBuilder(texts)
    unreadable = []
    if manifest.grid == "source":
        chosen = _of_archives(manifest, roots, progress)
    else:
        chosen = _of_catalogs(manifest, roots, progress, answers)
    for choice, frame in chosen:
        if choice.status == UNREADABLE:
            unreadable.append((choice.scene.item, choice.reason))
        gatherer.add(choice.scene, frame)
        builder.add(choice)
    scenes, order = builder.table()
    cells = gatherer.candidates(order)
    if unreadable:
        reason = unreadable[0][1]
        progress.note(f"{len(unreadable)} scenes cannot be read (first: {reason})")
    if not len(cells.scene):
        if len(unreadable) == len(scenes):
            raise InputError(f"none of {len(scenes)} scenes can be read ({reason})")
        raise InputError(
            f"{len(scenes)} scenes found, but no whole patch of 1.2 km lies in them within the "
            "area; use a larger area, or grid: scene for small pieces"
        )
    return _Found(cells, scenes, tuple(sorted(unreadable)))


def _of_catalogs(
    manifest: Manifest, roots: Roots, progress: Progress, answers: Answers | None
) -> Iterator[tuple[Choice, None]]:
    scenes = find_scenes(manifest, roots, progress, answers)
    completed = list(complete_scenes(scenes, manifest, roots, progress, total=len(scenes)))
    refused = {i: (c.status, c.reason) for i, c in enumerate(completed) if c.status}
    for choice in choose_scenes([one.scene for one in completed], manifest, refused):
        yield choice, None


def _of_archives(
    manifest: Manifest, roots: Roots, progress: Progress
) -> Iterator[tuple[Choice, Frame | None]]:
    """Yield the images of archives: their patches are chosen by those who published them."""
    images, ahead = itertools.tee(find_images(manifest, roots, progress))
    scenes = (image.scene for image in ahead)
    for image, done in zip(images, complete_scenes(scenes, manifest, roots, progress), strict=True):
        refused = (done.status, done.reason) if done.status else lacking_polarisation(done.scene)
        yield Choice(done.scene, *(refused or (KEEP, ""))), image.frame


def _require_kept(decisions: Decisions) -> None:
    statuses = decisions.statuses.to_pylist()
    counts: dict[str, int] = {}
    numbers = np.bincount(decisions.verdict, minlength=len(statuses)).tolist()
    for status, number in zip(statuses, numbers, strict=True):
        counts[status] = counts.get(status, 0) + number
    if counts.pop(KEEP):
        return
    causes = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()) if count)
    reason = decisions.reasons[int(decisions.verdict[0])]
    raise InputError(f"no patch is left of the plan: {causes} (first reason: {reason})")


def _notes(manifest: Manifest, limit: int | None, found: _Found) -> dict[str, Any]:
    return {
        "version": PLAN_VERSION,
        "grid": manifest.grid,
        "limit": limit,
        "edge_cells_dropped": found.cells.dropped,
        "antimeridian_cells_dropped": found.cells.at_meridian,
        "polar_cells_dropped": found.cells.polar,
        "unreadable_scenes": [item for item, _ in found.unreadable],
    }


def _write(path: Path, found: _Found, decisions: Decisions, notes: dict[str, Any]) -> None:
    schema = PLAN_SCHEMA.with_metadata(
        {
            METADATA_KEY: json.dumps(notes, sort_keys=True).encode(),
            b"geo": json.dumps(geo_metadata(("Polygon",)), sort_keys=True).encode(),
        }
    )
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_DICTIONARIES) as writer:
        for rows in row_groups(found.cells, found.scenes, decisions):
            writer.write_table(rows, row_group_size=rows.num_rows)


__all__ = ["PLAN_SCHEMA", "PlanFile", "make_plan", "staged_plan"]
