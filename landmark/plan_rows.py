"""What becomes of each candidate patch: status, partner, shard. Arrays in, a table out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.candidates import Candidates
from landmark.choosing import Choice, best_of_period, one_per_overpass
from landmark.drawing import Sampler, Verdicts
from landmark.manifest import Manifest
from landmark.pairing import pair_patches
from landmark.sampling import cell_hashes
from landmark.sharding import fill_shards, reading_order

PLAN_SCHEMA = pa.schema(
    [
        pa.field("patch_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("platform", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("frame", pa.string(), nullable=False),
        pa.field("epsg", pa.int32(), nullable=False),
        pa.field("x_min", pa.float64(), nullable=False),
        pa.field("y_max", pa.float64(), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("mgrs", pa.string(), nullable=False),
        pa.field("orbit_state", pa.string(), nullable=False),
        pa.field("relative_orbit", pa.int32()),
        pa.field("polarisations", pa.string(), nullable=False),
        pa.field("cloud", pa.float32()),
        pa.field("baseline", pa.string(), nullable=False),
        pa.field("offset", pa.int32(), nullable=False),
        pa.field("offset_evidence", pa.string(), nullable=False),
        pa.field("resampling", pa.string(), nullable=False),
        pa.field("pair_id", pa.string()),
        pa.field("pair_gap_s", pa.float64()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("collection", pa.string(), nullable=False),
        pa.field("scene", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)


@dataclass(frozen=True)
class SceneFacts:
    """The scenes' fields as arrays, one entry a scene.

    Attributes:
        choices: The scenes and what becomes of them, in plan order.
        sensor: 0 for `s1`, 1 for `s2`.
        platform: Number of the platform (and variant).
        time_s: Acquisition, seconds since 1970.
        rank: Position by item id.
        lon: Centre of the footprint, degrees (NaN where there is none).
        lat: Centre of the footprint, degrees.
    """

    choices: Sequence[Choice]
    sensor: NDArray[np.int64]
    platform: NDArray[np.int64]
    time_s: NDArray[np.int64]
    rank: NDArray[np.int64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]


def plan_rows(
    cells: Candidates,
    facts: SceneFacts,
    manifest: Manifest,
    limit: int | None,
    sampler: Sampler,
) -> pa.Table:
    """Return the plan's rows (`PLAN_SCHEMA`), shard by shard, what is not kept among them.

    Args:
        cells: Candidate patches.
        facts: Their scenes.
        manifest: Share, pairing and shard size.
        limit: Patches to keep at most, or None.
        sampler: Says which cells are sampled.
    """
    verdicts = Verdicts(facts.choices, cells.scene)
    hashes = None
    if manifest.patches.share < 1 or limit is not None:
        hashes = cell_hashes(cells.names, manifest.seed)[cells.frame]
    if hashes is not None and manifest.patches.share < 1:
        out = verdicts.keep & (hashes / 2.0**64 >= manifest.patches.share)
        verdicts.codes[out] = verdicts.code("thinned", f"share {manifest.patches.share:g}")
    sampler.draw(cells, facts.time_s[cells.scene], verdicts)
    _one_look_per_overpass(cells, facts, verdicts)
    _best_looks(cells, facts, verdicts, manifest)
    identifiers = _patch_ids(cells, facts)
    if hashes is not None and limit is not None:
        kept = np.flatnonzero(verdicts.keep)
        ranked = kept[np.lexsort((_ranks(identifiers, kept), hashes[kept]))]
        verdicts.codes[ranked[limit:]] = verdicts.code("thinned", f"--limit {limit}")
    kept = np.flatnonzero(verdicts.keep)
    pair, gap = _pairs(cells, facts, kept, identifiers, manifest)
    if manifest.pairing.required:
        # A partner's own partner lies no further away, so none is left alone by this.
        alone = verdicts.keep & ~pair.is_valid().to_numpy(zero_copy_only=False)
        hours = manifest.pairing.max_gap_hours
        verdicts.codes[alone] = verdicts.code("unpaired", f"no partner within {hours:g} h")
    order = reading_order(cells.scene, cells.epsg, cells.column, cells.row)
    shard, row = _shards(cells, facts, verdicts.keep, order, manifest.shards.rows)
    status, reason = verdicts.columns(order)
    place = pa.array(cells.place[order])
    names = pa.array(cells.names, pa.string())
    columns = {
        "patch_id": identifiers.take(pa.array(order)),
        "status": status,
        "reason": reason,
        "frame": names.take(pa.array(cells.frame[order])),
        "epsg": pa.array(cells.epsg[order]),
        "x_min": pa.array(cells.x_min[order]),
        "y_max": pa.array(cells.y_max[order]),
        "lon": pa.array(cells.lon).take(place),
        "lat": pa.array(cells.lat).take(place),
        "resampling": pa.array(["bilinear", "none"]).take(
            pa.array(cells.whole[order].astype(np.int8))
        ),
        "pair_id": pair.take(pa.array(order)),
        "pair_gap_s": gap.take(pa.array(order)),
        "shard": shard,
        "row": row,
        "geometry": cells.geometry.take(place),
        **_scene_columns(facts, pa.array(cells.scene[order])),
    }
    return pa.table([columns[name] for name in PLAN_SCHEMA.names], schema=PLAN_SCHEMA)


def _one_look_per_overpass(cells: Candidates, facts: SceneFacts, verdicts: Verdicts) -> None:
    """Keep one look where tiles or slices of one overpass overlap.

    Cut before warped, then the tile whose centre is nearer, then the item id.
    """
    kept = np.flatnonzero(verdicts.keep)
    scene = cells.scene[kept]
    lon, lat = cells.lon[cells.place[kept]], cells.lat[cells.place[kept]]
    east = (facts.lon[scene] - lon + 180) % 360 - 180
    away = np.hypot(east * np.cos(np.radians(lat)), facts.lat[scene] - lat)
    preference = (~cells.whole[kept], np.nan_to_num(away, nan=np.inf), facts.rank[scene])
    stands = one_per_overpass(
        cells.frame[kept], facts.platform[scene], facts.time_s[scene], preference
    )
    lost = np.flatnonzero(stands != np.arange(len(kept)))
    whole = cells.whole[kept]
    better = whole[stands[lost]] & ~whole[lost]
    codes = np.stack([scene[stands[lost]], better], axis=1)
    distinct, which = np.unique(codes, axis=0, return_inverse=True)
    numbers = np.empty(len(distinct), dtype=np.int32)
    for index, (winner, is_cut) in enumerate(distinct.tolist()):
        item = facts.choices[winner].scene.item
        why = "needs no resampling" if is_cut else "lies more central"
        numbers[index] = verdicts.code("duplicate", f"same overpass in {item}, which {why}")
    verdicts.codes[kept[lost]] = numbers[which.ravel()]


def _best_looks(
    cells: Candidates, facts: SceneFacts, verdicts: Verdicts, manifest: Manifest
) -> None:
    """Keep one look a cell and period where the manifest asks for it."""
    for number, source in enumerate((manifest.s1, manifest.s2)):
        if source is None or source.looks.keep == "all":
            continue
        looks = source.looks
        rows = np.flatnonzero(verdicts.keep & (facts.sensor[cells.scene] == number))
        scene = cells.scene[rows]
        units = {"all": "s", "year": "Y", "month": "M"}
        moments = facts.time_s[scene].astype("datetime64[s]")
        period = moments.astype(f"datetime64[{units[looks.per]}]").astype(np.int64)
        if looks.per == "all":
            period = np.zeros(len(rows), dtype=np.int64)
        gap = np.zeros(len(rows), dtype=np.int64)
        if looks.date is not None:
            noon = np.datetime64(looks.date, "s") + np.timedelta64(12, "h")
            gap = np.abs((moments - noon).astype(np.int64))
        preference = [gap, facts.time_s[scene], facts.rank[scene]]
        if looks.keep == "least_cloud":
            clouds = [np.inf if c.scene.cloud is None else c.scene.cloud for c in facts.choices]
            preference.insert(0, np.array(clouds)[scene])
        best = best_of_period(cells.frame[rows], period, preference)
        lost = np.flatnonzero(best != np.arange(len(rows)))
        verdicts.codes[rows[lost]] = verdicts.code(
            "look", f"another look is better ({looks.keep}, one of {looks.per})"
        )


def _patch_ids(cells: Candidates, facts: SceneFacts) -> pa.Array:
    endings = []
    for choice in facts.choices:
        scene = choice.scene
        time = scene.time.replace("-", "").replace(":", "").rstrip("Z")
        variant = f"_{choice.variant}" if choice.variant else ""
        endings.append(f"{scene.sensor}_{scene.platform}_{time}{variant}")
    frame = pa.array(cells.names, pa.string()).take(pa.array(cells.frame))
    ending = pa.array(endings, pa.string()).take(pa.array(cells.scene))
    return pc.binary_join_element_wise(frame, ending, "_")


def _ranks(identifiers: pa.Array, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each of some rows' patch ids in sorted order."""
    order = pc.sort_indices(identifiers.take(pa.array(rows))).to_numpy()
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _pairs(
    cells: Candidates,
    facts: SceneFacts,
    kept: NDArray[np.int64],
    identifiers: pa.Array,
    manifest: Manifest,
) -> tuple[pa.Array, pa.Array]:
    """Return partner id and gap of every candidate; null where it has none or is not kept."""
    scene = cells.scene[kept]
    partner, gap = pair_patches(
        facts.sensor[scene],
        cells.epsg[kept],
        cells.x_min[kept],
        cells.y_max[kept],
        facts.time_s[scene],
        _ranks(identifiers, kept),
        manifest.pairing.max_gap_hours * 3600,
    )
    has = partner >= 0
    source = np.zeros(len(cells.scene), dtype=np.int64)
    gaps = np.zeros(len(cells.scene))
    lacks = np.ones(len(cells.scene), dtype=bool)
    source[kept[has]] = kept[partner[has]]
    gaps[kept[has]] = gap[has]
    lacks[kept[has]] = False
    return identifiers.take(pa.array(source, mask=lacks)), pa.array(gaps, mask=lacks)


def _shards(
    cells: Candidates,
    facts: SceneFacts,
    keep: NDArray[np.bool_],
    order: NDArray[np.int64],
    limit: int,
) -> tuple[pa.Array, pa.Array]:
    """Return shard name and row of every candidate, in reading order."""
    names: list[str] = [""]
    name = np.zeros(len(order), dtype=np.int32)
    row = np.full(len(order), -1, dtype=np.int32)
    scene = cells.scene[order]
    for number, sensor in enumerate(("s1", "s2")):
        mine = np.flatnonzero(keep[order] & (facts.sensor[scene] == number))
        if not len(mine):
            continue
        counts = np.bincount(scene[mine], minlength=len(facts.choices))
        places = fill_shards(counts[counts > 0].tolist(), limit)
        name[mine] = places.shard + len(names)
        row[mine] = places.row
        names += [f"{sensor}-{shard:05d}" for shard in range(int(places.shard.max()) + 1)]
    return pa.array(names, pa.string()).take(pa.array(name)), pa.array(row)


def _scene_columns(facts: SceneFacts, scene: pa.Array) -> dict[str, pa.Array]:
    scenes = [choice.scene for choice in facts.choices]
    columns = {
        name: pa.array([getattr(one, name) for one in scenes], PLAN_SCHEMA.field(name).type)
        for name in (
            "sensor", "platform", "datetime", "mgrs", "orbit_state", "relative_orbit", "cloud",
            "baseline", "offset", "offset_evidence", "item", "collection",
        )
    }  # fmt: skip
    columns["polarisations"] = pa.array([",".join(one.polarisations) for one in scenes])
    taken = {name: values.take(scene) for name, values in columns.items()}
    texts = pa.array([one.to_json() for one in scenes], pa.string())
    taken["scene"] = pa.DictionaryArray.from_arrays(scene.cast(pa.int32()), texts)
    return taken
