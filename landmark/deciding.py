"""What becomes of each candidate patch: kept or why not, its partner, its shard. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.candidates import Candidates
from landmark.choosing import best_of_period, one_per_overpass
from landmark.drawing import Sampler, hashes_of
from landmark.manifest import Manifest
from landmark.pairing import NO_PARTNER, pair_patches
from landmark.scene_table import SceneTable
from landmark.sharding import fill_shards
from landmark.verdicts import Verdicts

#: Position of the name of no shard.
NO_SHARD = 0


@dataclass(frozen=True)
class Decisions:
    """What the plan decides of its candidates; arrays with one entry a candidate.

    Attributes:
        verdict: Position of status and reason in `statuses` and `reasons`, int32.
        partner: Candidate that is the partner of the other sensor, or -1, int32.
        shard: Position of the shard's name in `shards`, int32.
        row: Position in the shard, or -1, int32.
        statuses: Distinct statuses.
        reasons: Their reasons.
        shards: Shard names; the first is "", of what goes to none.
    """

    verdict: NDArray[np.int32]
    partner: NDArray[np.int32]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    statuses: pa.StringArray
    reasons: pa.StringArray
    shards: pa.StringArray


def decide(
    cells: Candidates,
    scenes: SceneTable,
    manifest: Manifest,
    limit: int | None,
    sampler: Sampler,
) -> Decisions:
    """Return what becomes of each candidate.

    Args:
        cells: Candidate patches.
        scenes: Their scenes.
        manifest: Share, looks, pairing and shard size.
        limit: Patches to keep at most, or None.
        sampler: Says which cells are sampled.
    """
    verdicts = Verdicts(scenes.choices(), cells.scene)
    hashes = None
    if manifest.patches.share < 1 or limit is not None:
        hashes = hashes_of(cells, manifest.seed)
    if hashes is not None and manifest.patches.share < 1:
        out = (hashes / 2.0**64 >= manifest.patches.share)[cells.frame]
        verdicts.codes[verdicts.keep & out] = verdicts.code(
            "thinned", f"share {manifest.patches.share:g}"
        )
    sampler.draw(cells, scenes.time_s, verdicts)
    _one_look_per_overpass(cells, scenes, verdicts)
    _best_looks(cells, scenes, verdicts, manifest)
    kept = np.flatnonzero(verdicts.keep)
    ranks = _ranks(cells, scenes, kept)
    if hashes is not None and limit is not None:
        ranked = np.lexsort((ranks, hashes[cells.frame[kept]]))
        verdicts.codes[kept[ranked[limit:]]] = verdicts.code("thinned", f"--limit {limit}")
        stays = np.sort(ranked[:limit])
        kept, ranks = kept[stays], ranks[stays]
    partner = _partners(cells, scenes, kept, ranks, manifest)
    if manifest.pairing.required:
        # A partner's own partner lies no further away, so none is left alone by this.
        alone = verdicts.keep & (partner == NO_PARTNER)
        hours = manifest.pairing.max_gap_hours
        verdicts.codes[alone] = verdicts.code("unpaired", f"no partner within {hours:g} h")
    shard, row, names = _shards(cells, scenes, verdicts.keep, manifest.shards.rows)
    statuses, reasons = verdicts.texts()
    return Decisions(verdicts.codes, partner, shard, row, statuses, reasons, names)


def _one_look_per_overpass(cells: Candidates, scenes: SceneTable, verdicts: Verdicts) -> None:
    """Keep one look where tiles or slices of one overpass overlap.

    Cut before warped, then the tile whose centre is nearer, then the item id.
    """
    kept = np.flatnonzero(verdicts.keep)
    scene, place = cells.scene[kept], cells.place[kept]
    lon, lat = cells.places.lon[place], cells.places.lat[place]
    east = (scenes.lon[scene] - lon + 180) % 360 - 180
    away = np.hypot(east * np.cos(np.radians(lat)), scenes.lat[scene] - lat)
    whole = cells.whole[kept]
    preference = (~whole, np.nan_to_num(away, nan=np.inf), scenes.rank[scene])
    stands = one_per_overpass(
        cells.places.frame[place], scenes.platform[scene], scenes.time_s[scene], preference
    )
    lost = np.flatnonzero(stands != np.arange(len(kept)))
    better = whole[stands[lost]] & ~whole[lost]
    codes = np.stack([scene[stands[lost]], better], axis=1)
    distinct, which = np.unique(codes, axis=0, return_inverse=True)
    numbers = np.empty(len(distinct), dtype=np.int32)
    items = scenes.columns["item"]
    for index, (winner, is_cut) in enumerate(distinct.tolist()):
        why = "needs no resampling" if is_cut else "lies more central"
        numbers[index] = verdicts.code(
            "duplicate", f"same overpass in {items[winner]}, which {why}"
        )
    verdicts.codes[kept[lost]] = numbers[which.ravel()]


def _best_looks(
    cells: Candidates, scenes: SceneTable, verdicts: Verdicts, manifest: Manifest
) -> None:
    """Keep one look a cell and period where the manifest asks for it."""
    for number, source in enumerate((manifest.s1, manifest.s2)):
        if source is None or source.looks.keep == "all":
            continue
        looks = source.looks
        rows = np.flatnonzero(verdicts.keep & (scenes.sensor[cells.scene] == number))
        scene = cells.scene[rows]
        units = {"all": "s", "year": "Y", "month": "M"}
        moments = scenes.time_s[scene].astype("datetime64[s]")
        period = moments.astype(f"datetime64[{units[looks.per]}]").astype(np.int64)
        if looks.per == "all":
            period = np.zeros(len(rows), dtype=np.int64)
        gap = np.zeros(len(rows), dtype=np.int64)
        if looks.date is not None:
            noon = np.datetime64(looks.date, "s") + np.timedelta64(12, "h")
            gap = np.abs((moments - noon).astype(np.int64))
        preference = [gap, scenes.time_s[scene], scenes.rank[scene]]
        if looks.keep == "least_cloud":
            clouds = pc.fill_null(scenes.columns["cloud"], np.inf).to_numpy()
            preference.insert(0, clouds[scene])
        best = best_of_period(cells.frame[rows], period, preference)
        lost = np.flatnonzero(best != np.arange(len(rows)))
        verdicts.codes[rows[lost]] = verdicts.code(
            "look", f"another look is better ({looks.keep}, one of {looks.per})"
        )


def _ranks(cells: Candidates, scenes: SceneTable, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of some candidates ordered by frame name, then the rest of the id."""
    names = _order(pa.chunked_array([cells.places.names]))[cells.frame[rows]]
    endings = _order(scenes.columns["ending"])[cells.scene[rows]]
    order = np.lexsort((endings, names))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _order(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the rank of each text, equal for equal ones."""
    ranks: NDArray[np.int64] = pc.rank(texts, tiebreaker="min").to_numpy().astype(np.int64)
    return ranks


def _partners(
    cells: Candidates,
    scenes: SceneTable,
    kept: NDArray[np.int64],
    ranks: NDArray[np.int64],
    manifest: Manifest,
) -> NDArray[np.int32]:
    """Return the partner of every candidate."""
    scene, place = cells.scene[kept], cells.place[kept]
    found = pair_patches(
        scenes.sensor[scene],
        cells.places.epsg[place],
        cells.places.x_min[place],
        cells.places.y_max[place],
        scenes.time_s[scene],
        ranks,
        manifest.pairing.max_gap_hours * 3600,
    )[0]
    partner = np.full(len(cells.scene), NO_PARTNER, dtype=np.int32)
    has = found != NO_PARTNER
    partner[kept[has]] = kept[found[has]]
    return partner


def _shards(
    cells: Candidates, scenes: SceneTable, keep: NDArray[np.bool_], limit: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], pa.StringArray]:
    """Return shard and row of every candidate, and the names of the shards."""
    names = [""]
    shard = np.full(len(keep), NO_SHARD, dtype=np.int32)
    row = np.full(len(keep), -1, dtype=np.int32)
    for number, sensor in enumerate(("s1", "s2")):
        mine = np.flatnonzero(keep & (scenes.sensor[cells.scene] == number))
        if not len(mine):
            continue
        counts = np.bincount(cells.scene[mine])
        places = fill_shards(counts[counts > 0].tolist(), limit)
        shard[mine] = places.shard + len(names)
        row[mine] = places.row
        names += [f"{sensor}-{number:05d}" for number in range(int(places.shard.max()) + 1)]
    return shard, row, pa.array(names, pa.string())
