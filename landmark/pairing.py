"""S1-S2 partners: for each patch the nearest in time of the other sensor on the same ground."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

#: Frames of two sensors whose centres are this close are the same ground (grids of their own,
#: such as archives', differ by single pixels).
SAME_CENTRE_M = 120.0
NO_PARTNER = -1
#: CRS, western edge, northern edge of frames.
Places = tuple[NDArray[np.integer], NDArray[np.float64], NDArray[np.float64]]


def pair_patches(
    sensor: NDArray[np.integer],
    epsg: NDArray[np.integer],
    x_min: NDArray[np.float64],
    y_max: NDArray[np.float64],
    time_s: NDArray[np.int64],
    rank: NDArray[np.integer],
    max_gap_s: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the partner of each patch and the signed gap in time.

    The partner is of the other sensor, in the same CRS, its centre within `SAME_CENTRE_M`, and
    the nearest in time within `max_gap_s`; equal gaps go to the smaller `rank`. It need not be
    mutual. All arrays have one entry a patch.

    Args:
        sensor: 0 or 1.
        epsg: CRS of the frame.
        x_min: Western edge, m.
        y_max: Northern edge, m.
        time_s: Acquisition, whole seconds.
        rank: Position of the patch id in sorted order.
        max_gap_s: Largest gap, s.

    Returns:
        Position of the partner (-1: none), and partner's time minus own, s (0 where none).
    """
    partner = np.full(len(sensor), NO_PARTNER, dtype=np.int64)
    for own_sensor in (0, 1):
        own = np.flatnonzero(sensor == own_sensor)
        other = np.flatnonzero(sensor != own_sensor)
        if len(own) and len(other):
            found = _nearest(own, other, epsg, x_min, y_max, time_s, rank, max_gap_s)
            partner[own] = found
    gap = np.where(partner >= 0, time_s[partner] - time_s, 0)
    return partner, gap


def _nearest(
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    epsg: NDArray[np.integer],
    x_min: NDArray[np.float64],
    y_max: NDArray[np.float64],
    time_s: NDArray[np.int64],
    rank: NDArray[np.integer],
    max_gap_s: float,
) -> NDArray[np.int64]:
    own_place, own_first = _places(epsg[own], x_min[own], y_max[own])
    other_place, other_first = _places(epsg[other], x_min[other], y_max[other])
    mine, theirs = own[own_first], other[other_first]
    links = _links(
        (epsg[mine], x_min[mine], y_max[mine]), (epsg[theirs], x_min[theirs], y_max[theirs])
    )
    row, place = expand(own_place, *links)  # each own patch with each place it may find others at
    if not len(row):
        return np.full(len(own), NO_PARTNER, dtype=np.int64)
    order = np.lexsort((rank[other], time_s[other], other_place))
    epoch = int(time_s.min())
    span = int(time_s.max()) - epoch + 1
    key = other_place[order].astype(np.int64) * span + (time_s[other[order]] - epoch)
    wanted = place.astype(np.int64) * span + (time_s[own[row]] - epoch)
    after = np.searchsorted(key, wanted)  # first at or after the own time, smallest rank first
    before = np.searchsorted(key, key[np.maximum(after - 1, 0)])  # same for the last one before
    candidate = np.concatenate([np.minimum(after, len(key) - 1), before])
    rows = np.concatenate([row, row])
    there = other[order[candidate]]
    gap = np.abs(time_s[there] - time_s[own[rows]])
    good = (other_place[order[candidate]] == np.concatenate([place, place])) & (gap <= max_gap_s)
    rows, there, gap = rows[good], there[good], gap[good]
    best = np.lexsort((rank[there], gap, rows))
    first = np.ones(len(best), dtype=bool)
    first[1:] = np.diff(rows[best]) != 0
    partner = np.full(len(own), NO_PARTNER, dtype=np.int64)
    partner[rows[best][first]] = there[best][first]
    return partner


def _places(
    epsg: NDArray[np.integer], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number equal frames; return (number of each row, a row of each number)."""
    order = np.lexsort((y, x, epsg))
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for values in (epsg, x, y):
        new[1:] |= np.diff(values[order]) != 0
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return number, order[new]


def _links(own: Places, other: Places) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (own place, other place) of all places on the same ground, ordered by own place."""
    own_epsg, own_x, own_y = own
    other_epsg, other_x, other_y = other
    pairs = []
    for epsg in np.intersect1d(own_epsg, other_epsg):
        mine = np.flatnonzero(own_epsg == epsg)
        theirs = np.flatnonzero(other_epsg == epsg)
        tree = shapely.STRtree(shapely.points(other_x[theirs], other_y[theirs]))
        points = shapely.points(own_x[mine], own_y[mine])
        near = tree.query(points, predicate="dwithin", distance=SAME_CENTRE_M)
        pairs.append(np.stack([mine[near[0]], theirs[near[1]]]))
    if not pairs:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    linked = np.concatenate(pairs, axis=1)
    linked = linked[:, np.lexsort((linked[1], linked[0]))]
    return linked[0], linked[1]


def expand(
    place: NDArray[np.integer], own: NDArray[np.int64], other: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, other) for each row and each thing linked to the row's place.

    Args:
        place: Place of each row.
        own: Place of each link, in ascending order.
        other: What it links to.
    """
    start = np.searchsorted(own, place)
    count = np.searchsorted(own, place, side="right") - start
    row = np.repeat(np.arange(len(place)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, other[np.repeat(start, count) + within]
