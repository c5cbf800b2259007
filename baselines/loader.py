"""Shards -> batches: mapped files, single patches decoded side by side, one step ahead.

A `Split` is one sensor and split of a dataset (`baselines.split`; behind a URL, read by row group:
`baselines.remote_split`). Batches hold pixels as stored (uint16 reflectance x
10000 or float32 dB), coarse bands replicated to 120 x 120 or left to the device to spread;
`baselines.scaling` does the rest. How steps are read (threads, processes) is `baselines.reading`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from baselines.reading import Reading, Room, one_ahead, private_slots, reading_pool
from baselines.reading_processes import ReadingProcesses
from baselines.remote_split import open_remote_split
from baselines.sampling import WINDOW, Order, Position
from baselines.split import Batch, Split, partner_rows
from landmark.commits import hash_json, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.remote_files import is_remote
from landmark.schema import ROW_GROUP_ROWS
from landmark.shards import ShardReader

#: Patches ahead of a step whose row groups are fetched: half of what a remote split may hold.
_AHEAD = WINDOW * ROW_GROUP_ROWS
#: Slots of reused arrays: one with the caller, and where steps are read ahead, one being read. No
#: more: the fewer, the more of them stays in the processor's cache.
_SLOTS, _SLOTS_AHEAD = 1, 2


@dataclass(frozen=True)
class Step:
    """One training step.

    Attributes:
        number: From 0, within the epoch.
        batches: Sensor -> this process's share.
        rows: Sensor -> rows of the whole step over all processes; see `share`.
    """

    number: int
    batches: dict[str, Batch]
    rows: dict[str, NDArray[np.intp]]


def split_files(root: Path, sensor: str, split: str) -> list[Path]:
    """Return the committed shard files of a sensor and split.

    Raises:
        InputError: There are files, but one was never committed.
    """
    files = Dataset(root).split_shards(sensor, split)
    for path in files:
        if read_mark(path) is None:
            raise InputError(
                f"{path.relative_to(root)} is not committed; run `landmark harmonize` again"
            )
    return files


def open_split(
    root: Path | str, sensor: str, split: str, options: Mapping[str, Any] | None = None
) -> Split | None:
    """Open a sensor and split of a dataset; None if it has no patches.

    Args:
        root: The dataset directory, or the URL of one.
        sensor: `s1` or `s2`.
        split: `train`, `val` or `corpus`.
        options: For the file system behind a URL (`landmark.remote_files.RemoteFolder`).

    Raises:
        InputError: The dataset has no shards yet, or a file was never committed.
        LandmarkError: A file is damaged.
    """
    if is_remote(str(root)):
        return open_remote_split(str(root), sensor, split, options)
    root = Path(root)
    dataset = Dataset(root)
    dataset.require(dataset.shards, "harmonize")
    readers = [ShardReader(path) for path in split_files(root, sensor, split)]
    readers = [reader for reader in readers if reader.rows]
    return Split(sensor, readers) if readers else None


def fingerprint(root: Path, splits: Sequence[str]) -> str:
    """Return one hash of the commit marks of all shards of some splits, both sensors."""
    marks = {}
    for sensor in ("s1", "s2"):
        for split in splits:
            for path in split_files(root, sensor, split):
                mark = read_mark(path)
                marks[f"{sensor}/{path.name}"] = mark.xxh3 if mark else ""
    return hash_json(marks)


def pairs(splits: Mapping[str, Split]) -> dict[str, NDArray[np.intp]]:
    """Return sensor -> rows, aligned: row i of both sensors is a patch and its partner.

    Every Sentinel-2 patch whose partner lies in the same split, in row order. The partner is the
    nearest in time, so that one Sentinel-1 patch may serve several.

    Raises:
        InputError: There are none.
    """
    found = np.empty(0, np.int32)
    if splits.keys() >= {"s1", "s2"}:
        found = partner_rows(splits["s2"], splits["s1"])
    s2 = np.flatnonzero(found >= 0)
    if not len(s2):
        raise InputError("the split holds no pairs of both sensors: mix them otherwise")
    return {"s1": found[s2].astype(np.intp), "s2": s2}


def training_batches(
    splits: Mapping[str, Split],
    usable: Mapping[str, NDArray[np.intp]],
    order: Order,
    start: Position,
    workers: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> Generator[Step, None, None]:
    """Give the remaining steps of an epoch, read one step ahead, in arrays of their own.

    Args:
        splits: Sensor -> training patches.
        usable: Sensor -> the rows the objective can learn from.
        order: Which of them are drawn when.
        start: Where the epoch is entered.
        workers: Decoding threads.
        part: (rank, processes): this process reads its share of every step.

    Yields:
        Each step in order.
    """
    with Loader(splits, usable, order, Reading(workers=workers), part) as loader:
        yield from loader.steps(start)


class Loader:
    """Reads the steps of an order. Close it, or use it as a context.

    Reading processes live as long as the loader: keep it over the epochs of a run.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        usable: Mapping[str, NDArray[np.intp]],
        order: Order,
        reading: Reading | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Make ready; nothing is read yet.

        Args:
            splits: Sensor -> training patches.
            usable: Sensor -> the rows the objective can learn from.
            order: Which of them are drawn when.
            reading: Threads or processes, stored or spread pixels, fresh or reused arrays.
            part: (rank, processes): this process reads its share of every step.

        Raises:
            InputError: A split is read by row group, and `order` or `reading` does not suit that.
        """
        _require_groups(splits, order, reading)
        self._splits = dict(splits)
        self._usable = usable
        self._order = order
        self._reading = reading or Reading()
        self._part = part
        largest = {s: -(-count // part[1]) for s, count in order.largest.items()}
        self._room = Room(
            {
                sensor: (
                    self._reading.dtype(split.layout.dtype),
                    self._shape(split, largest[sensor]),
                )
                for sensor, split in self._splits.items()
                if sensor in largest
            }
        )
        self._closing = contextlib.ExitStack()
        self._processes: ReadingProcesses | None = None
        self._pool: ThreadPoolExecutor | None = None
        if self._reading.processes:
            self._processes = self._closing.enter_context(
                ReadingProcesses(
                    self._splits, self._room, self._reading.processes, packed=self._reading.packed
                )
            )
        elif self._reading.workers != 0:
            self._pool = self._closing.enter_context(reading_pool(self._reading.workers))
        slots = _SLOTS if self._pool is None else _SLOTS_AHEAD
        self._slots = (
            private_slots(self._room, slots, pinned=self._reading.pinned)
            if self._reading.reuse and self._processes is None
            else []
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End threads and processes; the splits stay open."""
        self._closing.close()

    def steps(self, start: Position) -> Generator[Step, None, None]:
        """Give the remaining steps of an epoch in order.

        Raises:
            LandmarkError: An image is damaged, or a reading process ended.
        """
        numbers = range(start.step, self._order.steps)
        if self._processes is not None:
            yield from self._by_processes(self._processes, start.epoch, numbers)
            return
        jobs = [lambda number=number: self._read(start.epoch, number) for number in numbers]
        yield from (one_ahead(jobs) if self._pool is not None else (job() for job in jobs))

    def _rows(self, epoch: int, step: int) -> dict[str, NDArray[np.intp]]:
        drawn = self._order.batch(epoch, step)
        return {sensor: self._usable[sensor][places] for sensor, places in drawn.items()}

    def _shape(self, split: Split, count: int) -> tuple[int, ...]:
        return split.shape(count, packed=self._reading.packed)

    def _read(self, epoch: int, number: int) -> Step:
        self._prefetch(epoch, number)
        rows = self._rows(epoch, number)
        slot = self._slots[number % len(self._slots)] if self._slots else None
        batches = {}
        for sensor, whole in rows.items():
            own = share(whole, self._part)
            split = self._splits[sensor]
            if slot is None:
                out = np.empty(
                    self._shape(split, len(own)), self._reading.dtype(split.layout.dtype)
                )
            else:
                out = slot[sensor][: len(own)]
            images = split.read(own, self._pool, out=out, packed=self._reading.packed)
            batches[sensor] = Batch(own, images)
        return Step(number, batches, rows)

    def _prefetch(self, epoch: int, number: int) -> None:
        """Tell splits that are read by row group what the next steps need."""
        remote = [s for s, split in self._splits.items() if split.groups is not None]
        if not remote:
            return
        ahead = 1 + -(-_AHEAD // max(self._order.largest.values()))
        steps = range(number, min(number + ahead, self._order.steps))
        coming = [self._rows(epoch, step) for step in steps]
        for sensor in remote:
            rows = [share(step[sensor], self._part) for step in coming if sensor in step]
            if rows:
                self._splits[sensor].prefetch(np.concatenate(rows))

    def _by_processes(
        self, processes: ReadingProcesses, epoch: int, numbers: Iterable[int]
    ) -> Generator[Step, None, None]:
        whole = [self._rows(epoch, number) for number in numbers]
        own = [{sensor: share(r, self._part) for sensor, r in rows.items()} for rows in whole]
        filled = processes.read(own)
        with contextlib.closing(filled):
            for number, rows, mine, images in zip(numbers, whole, own, filled, strict=True):
                held = images if self._reading.reuse else {s: i.copy() for s, i in images.items()}
                yield Step(number, {s: Batch(mine[s], held[s]) for s in mine}, rows)


def row_groups(
    splits: Mapping[str, Split], usable: Mapping[str, NDArray[np.intp]]
) -> dict[str, NDArray[np.integer]]:
    """Return what `Order(groups=...)` needs: empty where single patches are read."""
    return {
        sensor: split.groups[usable[sensor]]
        for sensor, split in splits.items()
        if split.groups is not None and sensor in usable
    }


def _require_groups(splits: Mapping[str, Split], order: Order, reading: Reading | None) -> None:
    for sensor, split in splits.items():
        if split.groups is None:
            continue
        if sensor not in order.grouped:
            raise InputError(
                f"{sensor} patches behind a URL are read by row group: give the order "
                "`groups=baselines.loader.row_groups(splits, usable)`"
            )
        if reading is not None and reading.processes:
            raise InputError(
                "patches behind a URL are read by threads: each reading process would fetch the "
                "same row groups again"
            )


def share(rows: NDArray[np.intp], part: tuple[int, int]) -> NDArray[np.intp]:
    """Return one process's contiguous share of a step's rows; sizes differ by at most one."""
    rank, processes = part
    return rows[rank * len(rows) // processes : (rank + 1) * len(rows) // processes]
