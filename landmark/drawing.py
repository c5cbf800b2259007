"""Which cells are sampled: listed, around events, by rule, by strata, at random.

Every draw ranks cells by a hash of name and seed, never by position, so a larger area or another
search order leaves the choice among the cells that were there before alone. Rules apply to cells
that still have a look when their turn comes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from landmark.candidates import Candidates, Places
from landmark.errors import InputError
from landmark.grid import SIZE_M, Frame
from landmark.pairing import expand
from landmark.rasters import FRAME_PIXELS, class_counts
from landmark.sampling import cell_hashes, from_degrees
from landmark.sampling_rules import AroundEvents, Sampling, Strata
from landmark.sources import Roots
from landmark.vectors import Feature, read_polygons
from landmark.verdicts import Verdicts

_DAY_S = 86_400
#: Edges of event outlines are cut to this before they are projected, degrees.
_EDGE_DEGREES = 0.05
#: Frames counted on a label raster at once.
_COUNTED = 4096
#: Names hashed at once.
_HASHED = 1 << 16
UNSAMPLED = "unsampled"


class Sampler:
    """The manifest's sampling, ready to be applied to candidates.

    Attributes:
        notes: What the user should know of the draw; filled by `draw`.
    """

    def __init__(self, rules: Sampling, roots: Roots, seed: int) -> None:
        self._rules = rules
        self._roots = roots
        self._seed = seed
        self.notes: list[str] = []

    def draw(self, cells: Candidates, time_s: NDArray[np.int64], verdicts: Verdicts) -> None:
        """Reject the candidates that no rule samples.

        Args:
            cells: Candidate patches.
            time_s: Acquisition of each scene, seconds since 1970.
            verdicts: Changed in place.

        Raises:
            InputError: A file of the rules is missing or wrong, or none of the listed cells is
                a candidate.
        """
        rules = self._rules

        def drop(out: NDArray[np.bool_], reason: str) -> None:
            verdicts.codes[verdicts.keep & out] = verdicts.code(UNSAMPLED, reason)

        if rules.cells or rules.cells_file is not None:
            drop(~self._listed(cells), "not listed")
        if rules.events:
            near, timely = self._at_events(cells, time_s)
            drop(~near, "far from all events")
            drop(~timely, "outside the windows of the events near it")
        if rules.every > 1:
            on = on_stride(cells.places.column, cells.places.row, rules.every)
            drop(~on[cells.place], f"every {rules.every} cells")
        if rules.strata is not None:
            drop(~self._in_strata(cells, verdicts.keep, rules.strata), "its stratum is full")
        if rules.count is not None:
            frames = np.unique(cells.frame[verdicts.keep])
            hashes = hashes_of(cells, self._seed)[frames]
            chosen = np.zeros(len(cells.places.names), dtype=bool)
            chosen[frames[lowest(hashes, rules.count)]] = True
            drop(~chosen[cells.frame], f"count {rules.count}")

    def _listed(self, cells: Candidates) -> NDArray[np.bool_]:
        names = list(self._rules.cells)
        if self._rules.cells_file is not None:
            names += _read_names(self._rules.cells_file)
        wanted = {_cell_of(name) for name in names}
        listed = pa.array(sorted(wanted), pa.string())
        found = pc.is_in(cells.places.names, listed).to_numpy(zero_copy_only=False)
        # Places outside the area or beyond the grid's limits have names too, but no candidate.
        found &= np.bincount(cells.frame, minlength=len(found)) > 0
        if not found.any():
            raise InputError(
                f"sampling.cells: none of the {len(wanted)} cells listed is in the area and a "
                f"scene (first: {names[0] if names else 'none'})"
            )
        missing = len(wanted) - int(found.sum())
        if missing:
            self.notes.append(f"{missing} of {len(wanted)} cells listed have no scene")
        chosen: NDArray[np.bool_] = found[cells.frame]
        return chosen

    def _at_events(
        self, cells: Candidates, time_s: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which candidates lie near an event, and which in the window of such a one."""
        near = np.zeros(len(cells.scene), dtype=bool)
        timely = np.zeros(len(cells.scene), dtype=bool)
        for rule in self._rules.events:
            events = read_polygons(self._roots.label_path(rule.file), points=True).features
            windows = [_windows(event, rule, number) for number, event in enumerate(events)]
            links = _close(cells.places, [one.geometry for one in events], rule.radius_m)
            row, event = expand(cells.place, *links)
            near[row] = True
            for number in np.unique(event).tolist():
                mine = row[event == number]
                spans = windows[number]
                if spans is None:
                    timely[mine] = True
                    continue
                for first, last in spans:
                    moment = time_s[cells.scene[mine]]
                    timely[mine[(moment >= first) & (moment < last)]] = True
        return near, timely

    def _in_strata(
        self, cells: Candidates, keep: NDArray[np.bool_], rule: Strata
    ) -> NDArray[np.bool_]:
        frames, one_each = np.unique(cells.frame[keep], return_index=True)
        rows = np.flatnonzero(keep)[one_each]
        paths = [self._roots.label_path(path) for path in rule.rasters]
        shares: dict[int, NDArray[np.float64]] = {}
        for start in range(0, len(rows), _COUNTED):
            part = cells.place[rows[start : start + _COUNTED]]
            found = class_counts(paths, _frames(cells.places, part), nodata=rule.nodata)
            for column, code in enumerate(found.codes.tolist()):
                share = shares.setdefault(code, np.zeros(len(rows)))
                share[start : start + len(part)] = found.counts[:, column] / FRAME_PIXELS
        codes = sorted(shares)
        if not codes:
            raise InputError(
                f"sampling.strata: {', '.join(rule.rasters)} has no code on any of the "
                f"{len(rows):,} cells left; use a raster that covers the area"
            )
        present = np.stack([shares[code] >= rule.min_share for code in codes], axis=1)
        hashes = hashes_of(cells, self._seed)[frames]
        chosen = rare_first(present, hashes, rule.per_code)
        picked = np.zeros(len(cells.places.names), dtype=bool)
        picked[frames[chosen]] = True
        short = [c for c, n in zip(codes, present.sum(axis=0).tolist(), strict=True)
                 if 0 < n < rule.per_code]  # fmt: skip
        if short:
            self.notes.append(
                f"strata: fewer than {rule.per_code} cells hold code {', '.join(map(str, short))}"
            )
        sampled: NDArray[np.bool_] = picked[cells.frame]
        return sampled


def hashes_of(cells: Candidates, seed: int) -> NDArray[np.uint64]:
    """Return a number for each frame name of some candidates, as `cell_hashes` does."""
    names = cells.places.names
    starts = range(0, len(names), _HASHED)
    return cell_hashes((n for at in starts for n in names.slice(at, _HASHED).to_pylist()), seed)


def on_stride(
    column: NDArray[np.integer], row: NDArray[np.integer], every: int
) -> NDArray[np.bool_]:
    """Return which cells lie on each `every`-th column and row of the grid."""
    return (column % every == 0) & (row % every == 0)


def lowest(hashes: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Return the positions of the `count` lowest hashes (all, where there are fewer)."""
    return np.argsort(hashes, kind="stable")[:count]


def rare_first(
    present: NDArray[np.bool_], hashes: NDArray[np.uint64], per_code: int
) -> NDArray[np.int64]:
    """Return the cells drawn so that each code gets its share, the rarest served first.

    Codes are served in order of how many cells hold them (then of their position); each takes
    the cells of lowest hash that hold it, until it has `per_code` together with those that codes
    before it took.

    Args:
        present: (cells, codes), whether a cell holds a code.
        hashes: (cells,), decide among cells.
        per_code: Cells wanted of each code.
    """
    chosen = np.zeros(len(present), dtype=bool)
    order = np.argsort(hashes, kind="stable")
    counts = present.sum(axis=0)
    for code in np.lexsort((np.arange(len(counts)), counts)).tolist():
        lacking = per_code - int((chosen & present[:, code]).sum())
        if lacking > 0:
            more = order[present[order, code] & ~chosen[order]]
            chosen[more[:lacking]] = True
    return np.flatnonzero(chosen)


def _frames(places: Places, chosen: NDArray[np.int32]) -> list[Frame]:
    names = places.names.take(pa.array(places.frame[chosen])).to_pylist()
    columns = (values[chosen].tolist() for values in (places.epsg, places.x_min, places.y_max))
    return [Frame(*row) for row in zip(names, *columns, strict=True)]


def _close(
    places: Places, geometries: Sequence[shapely.Geometry], radius_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (place, event) of all pairs within a radius, in m of the place's CRS, by place."""
    found, numbers = [], []
    dense = [shapely.segmentize(one, _EDGE_DEGREES) for one in geometries]
    for epsg in np.unique(places.epsg).tolist():
        members = np.flatnonzero(places.epsg == epsg)
        local, known = [], []
        for number, one in enumerate(dense):
            moved = shapely.transform(one, _mover(epsg))
            if np.isfinite(shapely.get_coordinates(moved)).all():  # else on the Earth's far side
                local.append(shapely.make_valid(moved))
                known.append(number)
        if not local:
            continue
        x, y = places.x_min[members], places.y_max[members]
        boxes = shapely.box(x, y - SIZE_M, x + SIZE_M, y)
        near = shapely.STRtree(local).query(boxes, predicate="dwithin", distance=radius_m)
        found.append(members[near[0]])
        numbers.append(np.array(known)[near[1]])
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    place, event = np.concatenate(found), np.concatenate(numbers)
    order = np.argsort(place, kind="stable")
    return place[order], event[order]


def _mover(epsg: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda points: np.column_stack(from_degrees(epsg, points))


def _windows(event: Feature, rule: AroundEvents, number: int) -> list[tuple[int, int]] | None:
    """Return the spans of time, seconds since 1970, whose looks an event keeps; None: all."""
    if not rule.start_field:
        return None
    start = _day(event, rule.start_field, rule.file, number)
    end = _day(event, rule.end_field, rule.file, number) if rule.end_field else start
    if end < start:
        raise InputError(f"{rule.file}: feature {number}: ends before it starts")
    spans = [(start, end + _DAY_S)] if rule.during else []
    if rule.before_days is not None:
        far, near = rule.before_days
        spans.append((start - round(far * _DAY_S), start - round(near * _DAY_S) + _DAY_S))
    if rule.after_days is not None:
        near, far = rule.after_days
        spans.append((end + round(near * _DAY_S), end + round(far * _DAY_S) + _DAY_S))
    return spans


def _day(event: Feature, field: str, file: str, number: int) -> int:
    """Return the first second (UTC) of the day an attribute states; ISO text, or ms since 1970."""
    value = event.attributes.get(field)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):  # USGS feeds
            day = dt.datetime.fromtimestamp(value / 1000, dt.UTC).date()
        else:
            day = dt.datetime.fromisoformat(str(value)).date()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{file}: feature {number}: field {field!r} holds {value!r}, no date"
        ) from None
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def _read_names(file: str) -> list[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no UTF-8 text"
        raise InputError(f"sampling.cells_file: {file}: cannot be read: {reason}") from None
    names = [line.strip() for line in lines]
    return [name for name in names if name and not name.startswith("#")]


def _cell_of(name: str) -> str:
    """Return the frame name of a patch id (`FRAME_s2_S2A_20230704T101031...`), or the name."""
    for sensor in ("_s1_", "_s2_"):
        head, found, _ = name.rpartition(sensor)
        if found:
            return head
    return name
