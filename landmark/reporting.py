"""The corpus's part of the report: what was asked, where patches lie, what was left out, times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark import history
from landmark.dataset import Dataset
from landmark.ledger import committed_shards
from landmark.manifest import Catalog, Manifest
from landmark.manifest_file import load_manifest
from landmark.pages import Block, Facts, Figure, Paragraph, Section, Table
from landmark.split_map import ZonePatches, draw

#: Zones drawn at most; a world-wide corpus has up to 120.
_MAX_ZONES = 6
_RECENT_RUNS = 30
_SENSORS = {"s1": "Sentinel-1", "s2": "Sentinel-2"}


def heading(root: Path) -> tuple[str, str]:
    """Return title and subtitle of a dataset's pages.

    Raises:
        InputError: The directory holds no dataset.
    """
    manifest = _manifest(root)
    return manifest.name, manifest.description


def sections(root: Path) -> tuple[Section, ...]:
    """Return the corpus's sections of the report.

    Raises:
        InputError: The directory holds no dataset.
    """
    dataset = Dataset(root)
    manifest = _manifest(root)
    parts = [Section("What was asked", (Facts(asked(manifest)),))]
    if dataset.plan.exists():
        parts.append(Section("Where the patches lie", _map(dataset)))
        parts.append(Section("Kept, left out, missing", _counts(dataset)))
    else:
        missing = Paragraph("There is no plan yet: `landmark fetch` makes it.")
        parts.append(Section("Where the patches lie", (missing,)))
    parts.append(Section("Run times", (_run_times(dataset),)))
    return tuple(parts)


def asked(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Return what a manifest asks for, in words."""
    rows = [("Scenes from", _catalog(manifest.catalog))]
    if manifest.area is None:
        rows.append(("Area", "all the catalog holds"))
    elif manifest.area.bbox is not None:
        west, south, east, north = manifest.area.bbox
        rows.append(("Area", f"{west:g} to {east:g} east, {south:g} to {north:g} north"))
    else:
        rows.append(("Area", Path(manifest.area.file or "").name))
    time = manifest.time
    rows.append(("Time", f"{time.start} to {time.end}" if time else "all the catalog holds"))
    if manifest.s1 is not None:
        rows.append(("Sentinel-1", f"VV and VH, {manifest.s1.quantity.replace('_', ' ')}"))
    if manifest.s2 is not None:
        rows.append(
            ("Sentinel-2", f"{len(manifest.s2.bands)} bands: {' '.join(manifest.s2.bands)}")
        )
    kinds = [source.kind for source in manifest.labels]
    rows.append(("Land cover from", ", ".join(dict.fromkeys(kinds)) or "no source"))
    rows.append(
        ("Events", ", ".join(event.type or event.kind for event in manifest.events) or "none")
    )
    splits = manifest.splits
    how = f"blocks of {splits.block_km:g} km" if splits.method == "blocks" else "at random"
    shares = f"train {splits.train:g}, val {splits.val:g}, corpus {splits.corpus:g}, {how}"
    published = "as the archives publish them"
    rows.append(("Splits", published if splits.method == "source" else shares))
    rows += [("Grid", manifest.grid), ("Seed", str(manifest.seed))]
    return tuple(rows)


def _manifest(root: Path) -> Manifest:
    dataset = Dataset(root)
    return load_manifest(str(dataset.require(dataset.manifest, "fetch")))


def _catalog(catalog: Catalog) -> str:
    if catalog.kind == "sandbox":
        return f"the embedded sandbox (size {catalog.size}): synthetic, no real imagery"
    # A local path says where somebody's files lie: its last part is enough.
    href = catalog.href or ""
    return f"{catalog.kind} {href if '://' in href else Path(href).name}"


def _map(dataset: Dataset) -> tuple[Block, ...]:
    columns = ["patch_id", "frame", "epsg", "geometry"]
    kept = pq.read_table(dataset.plan, columns=columns, filters=[("status", "=", "keep")])
    if kept.num_rows == 0:
        return (Paragraph("The plan keeps no patch."),)
    index = None
    if dataset.index.exists():
        index = pq.read_table(dataset.index, columns=["patch_id", "split"])
    zones = []
    counts = {one["values"]: one["counts"] for one in kept["epsg"].value_counts().to_pylist()}
    for epsg, _ in Counter(counts).most_common():
        rows = kept.filter(pc.equal(kept["epsg"], epsg))
        zone = ZonePatches.of(epsg, rows, index)
        if zone.splits:
            zones.append(zone)
    if not zones:
        return (Paragraph("No patch lies in a split."),)
    shown = sorted(zones[:_MAX_ZONES], key=lambda zone: zone.epsg)
    caption = "Patch footprints by split, one panel per UTM zone, in degrees."
    if index is None:
        caption = "Planned patch footprints, one panel per UTM zone, in degrees; no splits yet."
    if len(zones) > len(shown):
        caption += f" The {len(shown)} zones with most patches of {len(zones)} are shown."
    alt = "Map of patches: " + "; ".join(zone.summary() for zone in shown)
    return (Figure(draw(shown), alt, caption),)


def _counts(dataset: Dataset) -> tuple[Block, ...]:
    marks = committed_shards(dataset).marks
    plan = pq.read_table(dataset.plan, columns=["sensor", "status"])
    grouped = plan.group_by(["sensor", "status"]).aggregate([([], "count_all")]).to_pylist()
    statuses = Counter({(row["sensor"], row["status"]): row["count_all"] for row in grouped})
    sensors = sorted({sensor for sensor, _ in statuses})
    left_out: Counter[tuple[str, str, str]] = Counter()
    holes: Counter[tuple[str, str, str]] = Counter()
    written: Counter[str] = Counter()
    for (sensor, status), count in statuses.items():
        if status != "keep":
            left_out["plan", status, sensor] += count
    for name, mark in marks.items():
        sensor = name[:2]
        written[sensor] += mark.rows
        for row in mark.filtered:
            left_out["fetch", row.rule, sensor] += 1
        for hole in mark.holes:
            holes[hole.stage, hole.cause, sensor] += 1
    rows = []
    for sensor in sensors:
        planned = statuses[sensor, "keep"]
        filtered = sum(
            n for (stage, _, s), n in left_out.items() if (stage, s) == ("fetch", sensor)
        )
        missing = sum(n for (_, _, s), n in holes.items() if s == sensor)
        candidates = sum(n for (s, _), n in statuses.items() if s == sensor)
        open_ = planned - written[sensor] - filtered - missing
        rows.append(
            (
                _SENSORS.get(sensor, sensor),
                candidates,
                planned,
                written[sensor],
                filtered,
                missing,
                open_,
            )
        )
    columns = ("sensor", "candidates", "planned", "written", "filtered", "holes", "not yet fetched")
    blocks: list[Block] = [Table(columns, tuple(rows), "Patches")]
    if left_out:
        blocks.append(_by_cause(left_out, sensors, ("at", "rule"), "Left out by rule, not failed"))
    if holes:
        blocks.append(_by_cause(holes, sensors, ("stage", "cause"), "Holes: could not be made"))
    else:
        blocks.append(Paragraph("No holes: every planned patch that was tried could be made."))
    return tuple(blocks)


def _by_cause(
    counts: Counter[tuple[str, str, str]],
    sensors: list[str],
    names: tuple[str, str],
    caption: str,
) -> Table:
    causes = sorted({(stage, cause) for stage, cause, _ in counts})
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (stage, cause, *(counts[stage, cause, sensor] for sensor in sensors))
        for stage, cause in causes
    )
    columns = (*names, *(_SENSORS.get(sensor, sensor) for sensor in sensors))
    return Table(columns, rows, caption)


def _run_times(dataset: Dataset) -> Block:
    entries = history.read(dataset)
    if not entries:
        return Paragraph("Not known: the cache, which holds the history of commands, is empty.")
    rows = tuple((e.command, e.started, round(e.seconds, 1)) for e in entries[-_RECENT_RUNS:])
    return Table(("command", "started (UTC)", "seconds"), rows)
