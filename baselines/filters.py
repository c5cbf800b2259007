"""Which patches a search looks at: by sensor, split, date, area and event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from baselines.documents import SENSORS
from baselines.vector_files import VectorFile
from landmark.errors import InputError
from landmark.manifest_model import Area
from landmark.stac_items import AreaShape, open_area

SPLITS = ("train", "val", "corpus")
ALL_SPLITS = "all"

Test = Callable[[pa.Table], NDArray[np.bool_]]


@dataclass(frozen=True)
class Filters:
    """What is looked at; None: no matter which.

    Attributes:
        sensor: `s1` or `s2`.
        split: `train`, `val`, `corpus`, or `all`.
        start: First day, UTC.
        end: Last day, UTC.
        area: `west,south,east,north` in degrees (west > east crosses the 180th meridian), or a
            vector file such as GeoJSON. A patch counts by its centre.
        event: Id of an event, a type (`flood`, `fire`, `earthquake`) or `type:id`; patches that
            list such an event, before, during or after it.
    """

    sensor: str | None = None
    split: str = "corpus"
    start: dt.date | None = None
    end: dt.date | None = None
    area: str | None = None
    event: str | None = None

    def check(self) -> None:
        """Refuse what no patch could satisfy.

        Raises:
            InputError: A value is not one of those there are, or the days are the wrong way round.
        """
        if self.sensor not in (None, *SENSORS):
            raise InputError(f"--sensor is {self.sensor!r}; give s1 or s2")
        if self.split not in (*SPLITS, ALL_SPLITS):
            raise InputError(f"--split is {self.split!r}; give {', '.join(SPLITS)} or {ALL_SPLITS}")
        if self.start is not None and self.end is not None and self.start > self.end:
            raise InputError(f"--from {self.start} lies after --to {self.end}; exchange them")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits looked at."""
        return SPLITS if self.split == ALL_SPLITS else (self.split,)

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors looked at."""
        return SENSORS if self.sensor is None else (self.sensor,)

    def shown(self) -> tuple[str, ...]:
        """Return the options that are set, as they are typed."""
        given = {
            "--sensor": self.sensor,
            "--split": None if self.split == "corpus" else self.split,
            "--from": self.start,
            "--to": self.end,
            "--area": self.area,
            "--event": self.event,
        }
        return tuple(f"{name} {value}" for name, value in given.items() if value is not None)


def masks(files: Sequence[VectorFile], filters: Filters) -> list[NDArray[np.bool_] | None]:
    """Return, per file, (rows,) which patches pass all filters of date, area and event.

    None stands for all rows: nothing of the file is read where nothing is asked.

    Raises:
        InputError: Nothing is left; the message names the filter that removed the last patch.
    """
    kept: list[NDArray[np.bool_] | None] = [None] * len(files)
    before = sum(file.rows for file in files)
    for option, columns, passes in _tests(filters):
        for number, file in enumerate(files):
            own = passes(file.facts(columns))
            earlier = kept[number]
            kept[number] = own if earlier is None else own & earlier
        left = sum(int(mask.sum()) for mask in kept if mask is not None)
        if left == 0:
            raise InputError(
                f"nothing is left to search in: {option} removed all of the {before} patches"
                f"{_and_others(filters, option)}"
            )
        before = left
    return kept


def _and_others(filters: Filters, option: str) -> str:
    others = [shown for shown in filters.shown() if shown != option]
    return f" (filters: {'; '.join(others)}; {option})" if others else ""


def _tests(filters: Filters) -> Iterator[tuple[str, list[str], Test]]:
    """Yield (option as typed, columns it needs, test) of each filter that is set."""
    if filters.start is not None:
        first = dt.datetime.combine(filters.start, dt.time(), dt.UTC)
        yield f"--from {filters.start}", ["datetime"], partial(_since, first)
    # The last day there is bounds nothing, and has no day after it.
    if filters.end is not None and filters.end < dt.date.max:
        after = dt.datetime.combine(filters.end + dt.timedelta(1), dt.time(), dt.UTC)
        yield f"--to {filters.end}", ["datetime"], partial(_before, after)
    if filters.area is not None:
        area = read_area(filters.area)
        yield f"--area {filters.area}", ["lon", "lat"], partial(_within, area)
    if filters.event is not None:
        yield f"--event {filters.event}", ["events"], partial(_of_event, filters.event)


def _since(first: dt.datetime, facts: pa.Table) -> NDArray[np.bool_]:
    return _bools(pc.greater_equal(facts["datetime"], pa.scalar(first, facts["datetime"].type)))


def _before(after: dt.datetime, facts: pa.Table) -> NDArray[np.bool_]:
    return _bools(pc.less(facts["datetime"], pa.scalar(after, facts["datetime"].type)))


def _within(area: AreaShape, facts: pa.Table) -> NDArray[np.bool_]:
    return area.contains(facts["lon"].to_numpy(), facts["lat"].to_numpy())


def _of_event(wanted: str, facts: pa.Table) -> NDArray[np.bool_]:
    events = facts["events"].combine_chunks()
    listed = events.flatten()
    kind = pc.list_element(pc.split_pattern(listed, ":", max_splits=1), 0)
    name = pc.list_element(pc.split_pattern(listed, ":", max_splits=1), 1)
    meant = [pc.equal(part, wanted) for part in (listed, kind, name)]
    hits = _bools(pc.or_(pc.or_(meant[0], meant[1]), meant[2]))
    kept = np.zeros(facts.num_rows, bool)
    kept[events.value_parent_indices().to_numpy()[hits]] = True
    return kept


def _bools(values: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    return values.to_numpy(zero_copy_only=False).astype(bool)


def read_area(text: str) -> AreaShape:
    """Return the area an option names: four numbers, or a vector file.

    Raises:
        InputError: It is neither, or holds no polygon.
    """
    numbers = _numbers(text)
    try:
        given = Area(file=text) if numbers is None else Area(bbox=numbers)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--area {text}: {reason}") from None
    if numbers is None and not Path(text).exists():
        raise InputError(
            f"--area {text}: is no file, nor west,south,east,north in degrees such as 10,44,11,45"
        )
    try:
        shape = open_area(given)
    except InputError as error:
        raise InputError(str(error).replace("area.file:", "--area")) from None
    assert shape is not None
    return shape


def _numbers(text: str) -> tuple[float, float, float, float] | None:
    parts = text.split(",")
    try:
        west, south, east, north = (float(part) for part in parts)
    except ValueError:
        return None
    return west, south, east, north


def parse_day(text: str | None, option: str) -> dt.date | None:
    """Return the day an option names.

    Raises:
        InputError: It is no day.
    """
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} is {text!r}; give a day such as 2023-06-01") from None
