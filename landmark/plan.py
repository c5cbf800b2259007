"""The plan: one row per candidate patch, kept or not and why. The lockfile of a dataset.

`plan.parquet` is a GeoParquet file. It is a function of the manifest and of what the catalog and
the file headers say, never of the order of a search answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from landmark.answers import Answers
from landmark.archives import find_images
from landmark.candidates import gather, number
from landmark.catalog import find_scenes
from landmark.choosing import KEEP, Choice, choose_scenes, lacking_polarisation
from landmark.commits import atomic_path
from landmark.drawing import Sampler
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import Manifest
from landmark.plan_rows import PLAN_SCHEMA, SceneFacts, plan_rows
from landmark.progress import Progress
from landmark.scene_facts import Completed, complete_scenes
from landmark.scenes import Scene
from landmark.schema import geo_metadata
from landmark.sources import Roots
from landmark.stac_items import open_area

PLAN_VERSION = 1
METADATA_KEY = b"landmark_plan"
_ROW_GROUP_ROWS = 65_536
#: Columns with few distinct values; ids, coordinates and outlines gain nothing by a dictionary.
_DICTIONARIES = [
    "status", "reason", "sensor", "platform", "datetime", "frame", "epsg", "mgrs", "orbit_state",
    "relative_orbit", "polarisations", "cloud", "baseline", "offset", "offset_evidence",
    "resampling", "shard", "item", "collection", "scene",
]  # fmt: skip


def make_plan(
    manifest: Manifest,
    roots: Roots,
    progress: Progress,
    *,
    limit: int | None = None,
    answers: Answers | None = None,
) -> pa.Table:
    """Return the plan of a manifest (`PLAN_SCHEMA`).

    Args:
        manifest: What to plan.
        roots: Where its catalogs lie.
        progress: Told of searches and headers.
        limit: Keep at most this many patches, cells chosen by a hash of their name.
        answers: Where answers of APIs are kept; None: nowhere.

    Raises:
        InputError: Nothing is found, no patch is left, or a local file cannot be read.
        LandmarkError: A catalog does not answer.
    """
    area = open_area(manifest.area)
    frames: Sequence[Frame | None] | None = None
    if manifest.grid == "source":
        scenes, frames = find_images(manifest, roots, progress)
    else:
        scenes = find_scenes(manifest, roots, progress, answers)
    completed = complete_scenes(scenes, manifest, roots, progress)
    choices = _choose(completed, manifest)
    cells = gather([choice.scene for choice in choices], frames, manifest, area)
    lost = [one for one in completed if one.status == "unreadable"]
    if lost:
        progress.note(f"{len(lost)} scenes cannot be read (first: {lost[0].reason})")
    if not len(cells.scene):
        if len(lost) == len(scenes):
            raise InputError(f"none of {len(scenes)} scenes can be read ({lost[0].reason})")
        raise InputError(
            f"{len(scenes)} scenes found, but no whole patch of 1.2 km lies in them within the "
            "area; use a larger area, or grid: scene for small pieces"
        )
    sampler = Sampler(manifest.sampling, roots, manifest.seed)
    table = plan_rows(cells, _facts(choices), manifest, limit, sampler)
    for message in sampler.notes:
        progress.note(message)
    _require_kept(table)
    own = {
        "version": PLAN_VERSION,
        "grid": manifest.grid,
        "limit": limit,
        "edge_cells_dropped": cells.dropped,
        "antimeridian_cells_dropped": cells.at_meridian,
        "polar_cells_dropped": cells.polar,
        "unreadable_scenes": sorted(one.scene.item for one in lost),
    }
    return table.replace_schema_metadata(
        {
            METADATA_KEY: json.dumps(own, sort_keys=True).encode(),
            b"geo": json.dumps(geo_metadata(("Polygon",)), sort_keys=True).encode(),
        }
    )


def write_plan(path: Path, table: pa.Table) -> None:
    """Write a plan whole or not at all; equal plans give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            row_group_size=_ROW_GROUP_ROWS,
            use_dictionary=_DICTIONARIES,
        )


def read_plan(path: Path) -> pa.Table:
    """Return the plan of a file.

    Raises:
        InputError: It is missing, damaged, or of a newer version.
    """
    return _read(path, None)


def read_shard_rows(path: Path, shard: str) -> pa.Table:
    """Return one shard's rows from a plan file, in shard order, reading little else.

    Raises:
        InputError: The file is no plan, or has no such shard.
    """
    return shard_rows(_read(path, [("shard", "==", shard)]), shard)


def shard_rows(table: pa.Table, shard: str) -> pa.Table:
    """Return the rows of one shard, in shard order.

    Raises:
        InputError: The plan has no such shard.
    """
    rows = table.filter(pc.equal(table.column("shard"), shard))
    if not rows.num_rows:
        raise InputError(f"the plan has no shard {shard!r}")
    return rows.sort_by("row")


def iter_shards(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield (shard, its rows in shard order) for all shards in order, in one pass."""
    shard = table.column("shard")
    keys = pa.table({"shard": shard, "row": table.column("row")})
    order = pc.sort_indices(keys, [("shard", "ascending"), ("row", "ascending")])
    sizes = shard_sizes(table)
    start = table.num_rows - sum(sizes.values())  # rows without a shard sort first
    for name, size in sizes.items():
        yield name, table.take(order.slice(start, size))
        start += size


def shard_names(table: pa.Table) -> list[str]:
    """Return the plan's shards in order: `s1-00000`, ..., `s2-00000`, ..."""
    return list(shard_sizes(table))


def shard_sizes(table: pa.Table) -> dict[str, int]:
    """Return the patches planned per shard, shards in order."""
    counts = {v["values"]: v["counts"] for v in table.column("shard").value_counts().to_pylist()}
    return {name: counts[name] for name in sorted(counts) if name}


def kept_scenes(table: pa.Table) -> list[Scene]:
    """Return the scenes that kept patches come from, in plan order."""
    kept = table.filter(pc.not_equal(table.column("shard"), ""))
    texts = kept.column("scene").combine_chunks()
    used = pc.unique(texts.indices).to_pylist()
    return [Scene.from_json(texts.dictionary[index].as_py()) for index in sorted(used)]


def limit_of(table: pa.Table) -> int | None:
    """Return the `limit` a plan was made with."""
    limit: int | None = plan_notes(table)["limit"]
    return limit


def plan_notes(table: pa.Table) -> dict[str, Any]:
    """Return what the plan says of itself: version, grid, limit, cells dropped at edges.

    Raises:
        InputError: The table is no plan, or of a newer version.
    """
    raw = (table.schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise InputError("plan.parquet: is no landmark plan")
    notes: dict[str, Any] = json.loads(raw)
    if notes["version"] > PLAN_VERSION:
        raise InputError(
            f"plan.parquet: version {notes['version']} is newer than this program's "
            f"{PLAN_VERSION}; update landmark"
        )
    return notes


def _read(path: Path, filters: list[tuple[str, str, str]] | None) -> pa.Table:
    try:
        table = pq.read_table(path, filters=filters)
    except FileNotFoundError:
        raise InputError(f"{path}: no such plan; run `landmark fetch ... --plan`") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); plan again with --replan") from None
    plan_notes(table)
    return table


def _choose(completed: Sequence[Completed], manifest: Manifest) -> list[Choice]:
    scenes = [one.scene for one in completed]
    refused = {i: (c.status, c.reason) for i, c in enumerate(completed) if c.status}
    if manifest.grid == "source":  # an archive's patches are chosen by those who published it
        return [
            Choice(s, *(refused.get(i) or lacking_polarisation(s) or (KEEP, "")))
            for i, s in enumerate(scenes)
        ]
    return choose_scenes(scenes, manifest, refused)


def _facts(choices: Sequence[Choice]) -> SceneFacts:
    scenes = [choice.scene for choice in choices]
    seconds = [int(scene.datetime.timestamp()) for scene in scenes]
    platforms = np.array([f"{c.scene.sensor} {c.scene.platform} {c.variant}" for c in choices])
    centres = [
        (float("nan"), float("nan"))
        if scene.footprint is None
        else shapely.from_wkt(scene.footprint).centroid.coords[0]
        for scene in scenes
    ]
    order = sorted(range(len(scenes)), key=lambda i: (scenes[i].item, scenes[i].to_json()))
    rank = np.empty(len(scenes), dtype=np.int64)
    rank[order] = np.arange(len(scenes))
    lon, lat = np.array(centres, dtype=np.float64).T
    return SceneFacts(
        choices=choices,
        sensor=np.array([scene.sensor == "s2" for scene in scenes], dtype=np.int64),
        platform=number(platforms)[0],
        time_s=np.array(seconds, dtype=np.int64),
        rank=rank,
        lon=lon,
        lat=lat,
    )


def _require_kept(table: pa.Table) -> None:
    counts = Counter(table.column("status").to_pylist())
    if not counts[KEEP]:
        causes = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        reason = table.column("reason")[0].as_py()
        raise InputError(f"no patch is left of the plan: {causes} (first reason: {reason})")


__all__ = [
    "PLAN_SCHEMA",
    "iter_shards",
    "kept_scenes",
    "limit_of",
    "make_plan",
    "plan_notes",
    "read_plan",
    "read_shard_rows",
    "shard_names",
    "shard_rows",
    "shard_sizes",
    "write_plan",
]
