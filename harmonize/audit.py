"""Auditing a split: how near its parts lie, what they share, how their labels and sensors differ.

Works on any split of patches with known places: the one in index.parquet, a stranger's list, or
the published style drawn at random.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import KDTree

from harmonize.indexing import places_of
from harmonize.places import Places
from harmonize.ties import KINDS, Tie, ties_of
from landmark.grid import SIZE_M
from landmark.taxonomy import CLASSES

#: Worst cases named per finding.
MOST_NAMED = 5
#: The UTM lattice is up to 0.1 % longer or 0.04 % shorter than the ground it lies on.
_LATTICE_SLACK = 0.002
#: Semi-major axis (m) and squared eccentricity of the WGS 84 ellipsoid.
_WGS84 = (6_378_137.0, 6.69437999014e-3)
#: Below this many patches in a split a difference in shares is chance, not drift.
_FEWEST = 30
_WORDS = {
    "scene": ("scene", "same air, sun and processing"),
    "datatake": ("datatake", "one pass of the satellite"),
    "event": ("event", "the same crisis"),
    "pair": ("S1-S2 pair", "the same ground at nearly the same time"),
}


@dataclass(frozen=True)
class Limits:
    """What a split may not exceed.

    Attributes:
        buffer_cells: Cells that must lie free between patches of different splits.
        shared: Kinds of ties that splits may share (`scene`, `datatake`, `event`, `pair`).
        label_drift: Largest difference of a class's prevalence in a split from that in all.
        sensor_drift: Largest difference of a sensor's share in a split from that in all.
    """

    buffer_cells: int = 1
    shared: frozenset[str] = frozenset()
    label_drift: float = 0.25
    sensor_drift: float = 0.15

    @property
    def distance_m(self) -> float:
        """Least distance of centres: neighbours with `buffer_cells` free cells between."""
        return (self.buffer_cells + 1) * SIZE_M * (1.0 - _LATTICE_SLACK)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: `distance`, `scene`, `datatake`, `event`, `pair`, `labels` or `sensors`.
        ok: Whether it is within its limit.
        value: What was found (m, number of shared keys, or largest difference of shares).
        limit: What is allowed; None: anything.
        text: One sentence: what was found and why it matters.
        worst: The worst cases, one line each.
    """

    check: str
    ok: bool
    value: float | None
    limit: float | None
    text: str
    worst: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "worst": list(self.worst)}


@dataclass(frozen=True)
class Audit:
    """All findings on a split.

    Attributes:
        patches: Split -> patches.
        unassigned: Patches in no split.
        findings: In a fixed order.
    """

    patches: dict[str, int]
    unassigned: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every finding is within its limit."""
        return all(finding.ok for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "ok": self.ok,
            "patches": self.patches,
            "unassigned": self.unassigned,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class _Split:
    """Patches in splits: `of` (n,) int64, position in `names`, -1 where in none."""

    names: tuple[str, ...]
    of: NDArray[np.int64]


def audit(index: pa.Table, split: NDArray[np.str_], limits: Limits) -> Audit:
    """Audit a split of the patches of an index.

    Args:
        index: `INDEX_SCHEMA`; its own column `split` is not looked at.
        split: (n,) name of each row's split, "" for a patch in none.
        limits: What is allowed.
    """
    names, of = np.unique(split, return_inverse=True)
    filled = names != ""
    number = np.where(filled, np.cumsum(filled) - 1, -1)
    parts = _Split(tuple(names[filled].tolist()), number[of])
    ids = index["patch_id"]
    ties = {tie.kind: tie for tie in ties_of(index)}
    sizes = np.bincount(parts.of[parts.of >= 0], minlength=len(parts.names))
    return Audit(
        patches=dict(zip(parts.names, sizes.tolist(), strict=True)),
        unassigned=int((parts.of < 0).sum()),
        findings=(
            _distances(places_of(index), ids, parts, limits),
            *(_shared(ties[kind], parts, limits) for kind in KINDS),
            _label_drift(index, parts, limits),
            _sensor_drift(index, parts, limits),
        ),
    )


def nearest(places: Places, first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[Any, Any]:
    """Return, per row of `first`, the distance (m) to the nearest place of `second`, and its row.

    Straight lines through the ellipsoid: at the distances of buffers, those on the ground, across
    zone borders and the 180th meridian too.
    """
    points = _geocentric(places)
    distance, position = KDTree(points[second]).query(points[first])
    return distance, second[position]


def _geocentric(places: Places) -> NDArray[np.float64]:
    axis, eccentricity = _WGS84
    lon, lat = np.radians(places.lon), np.radians(places.lat)
    radius = axis / np.sqrt(1.0 - eccentricity * np.sin(lat) ** 2)
    return np.stack(
        [
            radius * np.cos(lat) * np.cos(lon),
            radius * np.cos(lat) * np.sin(lon),
            radius * (1.0 - eccentricity) * np.sin(lat),
        ],
        axis=1,
    )


def _distances(places: Places, ids: pa.ChunkedArray, parts: _Split, limits: Limits) -> Finding:
    limit = limits.distance_m
    least, near, worst = np.inf, 0, []
    for one, other in itertools.combinations(range(len(parts.names)), 2):
        rows = np.flatnonzero(parts.of == one), np.flatnonzero(parts.of == other)
        # Look from the smaller split: every close pair has an end in it.
        first, second = sorted(rows, key=lambda r: r.size)
        distance, partner = nearest(places, first, second)
        least = min(least, float(distance.min()))
        near += int((distance < limit).sum())
        for place in np.argsort(distance, kind="stable")[:MOST_NAMED].tolist():
            if distance[place] < limit:
                a, b = first[place], partner[place]
                worst.append(
                    (
                        float(distance[place]),
                        f"{distance[place]:.0f} m between {ids[a]} ({_name(parts, a)}) and "
                        f"{ids[b]} ({_name(parts, b)})",
                    )
                )
    worst.sort()
    if not np.isfinite(least):
        return Finding(
            "distance", True, None, round(limit, 1), "there are no two splits to compare"
        )
    text = f"patches of different splits come as near as {least:.0f} m (centre to centre)"
    if near:
        text += (
            f"; {near} lie nearer than {limit:.0f} m to another split: neighbouring ground looks "
            "alike, so a model has seen what it is asked for"
        )
    lines = tuple(line for _, line in worst[:MOST_NAMED])
    return Finding("distance", near == 0, round(least, 1), round(limit, 1), text, lines)


def _shared(tie: Tie, parts: _Split, limits: Limits) -> Finding:
    word, why = _WORDS[tie.kind]
    split = parts.of[tie.rows]
    rows = np.flatnonzero(split >= 0)
    count = len(parts.names)
    held = np.zeros(0, dtype=np.int64)
    keys, position = np.unique(tie.keys[rows], return_inverse=True)
    table = np.bincount(position * count + split[rows], minlength=keys.size * count)
    held = table.reshape(keys.size, count) if count else np.zeros((0, 0), dtype=np.int64)
    shared = np.flatnonzero((held > 0).sum(axis=1) > 1)
    # The worst are those with most patches outside of the split that holds most of them.
    outside = held[shared].sum(axis=1) - held[shared].max(axis=1, initial=0)
    order = np.lexsort((keys[shared], -outside))[:MOST_NAMED]
    worst = tuple(
        f"{word} {tie.names[int(keys[row])]}: "
        + ", ".join(f"{n} in {parts.names[s]}" for s, n in enumerate(held[row].tolist()) if n)
        for row in shared[order].tolist()
    )
    allowed = tie.kind in limits.shared
    text = f"{shared.size} of {keys.size} {word}s are shared between splits"
    if shared.size:
        text += f" ({why})"
    limit = None if allowed else 0.0
    return Finding(tie.kind, allowed or not shared.size, float(shared.size), limit, text, worst)


def _label_drift(index: pa.Table, parts: _Split, limits: Limits) -> Finding:
    labels = index["label_mask"].to_numpy().astype(np.int64)
    known = index["known_mask"].to_numpy().astype(np.int64)
    cases = []
    for position, name in enumerate(CLASSES):
        decided = ((known >> position) & 1 == 1) & (parts.of >= 0)
        flags = (labels[decided] >> position) & 1
        cases += _drift(name, flags, parts.of[decided], parts, "of the patches carry it")
    return _drift_finding("labels", cases, limits.label_drift, "the prevalence of a class")


def _sensor_drift(index: pa.Table, parts: _Split, limits: Limits) -> Finding:
    sensors = index["sensor"].to_numpy(zero_copy_only=False)
    inside = parts.of >= 0
    cases = []
    for name in sorted(set(sensors.tolist())):
        flags = (sensors[inside] == name).astype(np.int64)
        cases += _drift(name, flags, parts.of[inside], parts, "of the patches are of it")
    return _drift_finding("sensors", cases, limits.sensor_drift, "the share of a sensor")


def _drift(
    name: str, flags: NDArray[np.int64], of: NDArray[np.int64], parts: _Split, what: str
) -> list[tuple[float, str]]:
    """Return how far the share of set flags in each split is from that in all, and in words."""
    if not flags.size:
        return []
    overall = float(flags.mean())
    sizes = np.bincount(of, minlength=len(parts.names))
    shares = np.bincount(of, flags, len(parts.names)) / np.maximum(sizes, 1)
    return [
        (
            abs(float(share) - overall),
            f"{name}: {share:.1%} {what} in {parts.names[s]}, {overall:.1%} in all",
        )
        for s, share in enumerate(shares)
        if sizes[s] >= _FEWEST
    ]


def _drift_finding(check: str, cases: list[tuple[float, str]], limit: float, what: str) -> Finding:
    cases = sorted(cases, key=lambda case: (-case[0], case[1]))
    largest = cases[0][0] if cases else 0.0
    return Finding(
        check,
        largest <= limit,
        round(largest, 4),
        limit,
        f"{what} differs by up to {largest:.1%} between a split and all patches",
        tuple(line for drift, line in cases[:MOST_NAMED] if drift > limit),
    )


def _name(parts: _Split, row: int) -> str:
    return parts.names[int(parts.of[row])]
