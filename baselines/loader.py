"""Shards -> batches: mapped files, single patches decoded side by side, one step ahead.

A `Split` is one sensor and split of a dataset as arrays: the small columns are read whole, the
images one by one where they are asked for. Batches hold pixels as stored (uint16 reflectance x
10000 or float32 dB), coarse bands replicated to 120 x 120 or left to the device to spread;
`baselines.scaling` does the rest. How steps are read (threads, processes) is `baselines.reading`'s.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from baselines.reading import Array, Reading, Room, one_ahead, private_slots, reading_pool
from baselines.reading_processes import ReadingProcesses
from baselines.sampling import Order, Position
from landmark.commits import hash_json, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS
from landmark.schema import ImageLayout
from landmark.shards import ShardReader

_COLUMNS = ("patch_id", "label_mask", "known_mask", "caption", "pair_id")
#: Patches read by `Split.batches` at a time unless told.
_BATCH = 256
#: Patches one thread takes at a time: few enough to share a step out, enough to be worth a call.
_CHUNK = 8
#: Slots of reused arrays: one with the caller, one being read, one waiting.
_SLOTS = 3


@dataclass(frozen=True)
class Batch:
    """What a step needs of one sensor.

    Attributes:
        rows: (n,) rows of the split.
        images: (n, bands, 120, 120) as stored, or packed: (n, values), native planes one after
            another (`baselines.scaling.unpack`).
    """

    rows: NDArray[np.intp]
    images: NDArray[np.generic]


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


class Split:
    """One sensor and split of a dataset. Close it, or use it as a context.

    Attributes:
        sensor: `s1` or `s2`.
        layout: What images hold; files may store them under different profiles.
        patch_id: (n,) ids.
        label_mask: (n,) uint16, bit = class present.
        known_mask: (n,) uint16, bit = class decided.
        captions: Unique captions, sorted.
        caption_id: (n,) index into `captions`: a text is embedded once, not once per patch.
        pair_id: (n,) id of the partner of the other sensor, or None.
    """

    def __init__(self, sensor: str, readers: Sequence[ShardReader]) -> None:
        self.sensor = sensor
        self.layout: ImageLayout = readers[0].layout
        for reader in readers:
            if reader.layout.content != self.layout.content:
                raise LandmarkError(
                    f"{reader.path}: its images are laid out otherwise than those of "
                    f"{readers[0].path.name}; run `landmark harmonize` again"
                )
        self._readers = tuple(readers)
        # A plain list: searching it is several times faster than one value in numpy.
        self._edges: list[int] = np.cumsum([0, *(reader.rows for reader in readers)]).tolist()
        table = pa.concat_tables([reader.table(_COLUMNS) for reader in readers])
        self.patch_id: NDArray[np.object_] = table["patch_id"].to_numpy()
        self.label_mask: NDArray[np.uint16] = table["label_mask"].to_numpy()
        self.known_mask: NDArray[np.uint16] = table["known_mask"].to_numpy()
        self.pair_id: NDArray[np.object_] = table["pair_id"].to_numpy()
        captions, self.caption_id = np.unique(
            table["caption"].to_numpy().astype(str), return_inverse=True
        )
        self.captions: list[str] = captions.tolist()

    def __len__(self) -> int:
        return self._edges[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard files."""
        for reader in self._readers:
            reader.close()

    def image(self, row: int, out: Array | None = None) -> Array:
        """Return (bands, 120, 120) of one row as stored, or put it in `out`."""
        reader, own = self._locate(row)
        return reader.image(own, out)

    def shape(self, count: int, *, packed: bool = False) -> tuple[int, ...]:
        """Return the shape of an array of `count` images."""
        if packed:
            return (count, self.layout.values)
        return (count, len(self.layout.bands), PIXELS, PIXELS)

    def read(
        self,
        rows: NDArray[np.integer],
        pool: ThreadPoolExecutor | None = None,
        *,
        out: Array | None = None,
        packed: bool = False,
    ) -> Array:
        """Return the images of some rows as stored; threads of `pool` decode.

        Args:
            rows: Rows of the split, in any order.
            pool: None: this thread decodes.
            out: Where to put them, of `shape` and the stored dtype (or, not packed, one it casts
                to safely); None: a new array.
            packed: Native planes one after another instead of (bands, 120, 120).

        Raises:
            LandmarkError: An image is damaged.
        """
        if out is None:
            out = np.empty(self.shape(len(rows), packed=packed), dtype=self.layout.dtype)
        images = out

        def fill(places: range) -> None:
            scratch = None if packed else np.empty(self.layout.values, self.layout.dtype)
            for place in places:
                reader, own = self._locate(int(rows[place]))
                if packed:
                    reader.packed(own, images[place])
                else:
                    reader.image(own, images[place], scratch)

        if pool is None:
            fill(range(len(rows)))
            return images
        parts = [range(i, min(i + _CHUNK, len(rows))) for i in range(0, len(rows), _CHUNK)]
        for _ in pool.map(fill, parts):
            pass
        return images

    def _locate(self, row: int) -> tuple[ShardReader, int]:
        shard = bisect.bisect_right(self._edges, row) - 1
        return self._readers[shard], row - self._edges[shard]

    def batches(self, size: int = _BATCH, workers: int | None = None) -> Iterator[Batch]:
        """Give all rows in order: evaluation, embedding. The next batch is read meanwhile."""
        rows = np.arange(len(self))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        with reading_pool(workers) as pool:
            jobs = [lambda part=part: Batch(part, self.read(part, pool)) for part in parts]
            yield from one_ahead(jobs)


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


def open_split(root: Path, sensor: str, split: str) -> Split | None:
    """Open a sensor and split of a dataset; None if it has no patches.

    Raises:
        InputError: The dataset has no shards yet, or a file was never committed.
        LandmarkError: A file is damaged.
    """
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
    place = (
        {patch: row for row, patch in enumerate(splits["s1"].patch_id)} if "s1" in splits else {}
    )
    found = [
        (row, place[partner])
        for row, partner in enumerate(splits["s2"].pair_id if "s2" in splits else ())
        if partner in place
    ]
    if not found:
        raise InputError("the split holds no pairs of both sensors: mix them otherwise")
    s2, s1 = np.array(found, dtype=np.intp).T
    return {"s1": s1, "s2": s2}


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
        """
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
        pinned = self._reading.pinned
        self._slots = (
            private_slots(self._room, _SLOTS, pinned=pinned) if self._reading.reuse else []
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
        rows = self._rows(epoch, number)
        slot = self._slots[number % _SLOTS] if self._slots else None
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


def share(rows: NDArray[np.intp], part: tuple[int, int]) -> NDArray[np.intp]:
    """Return one process's contiguous share of a step's rows; sizes differ by at most one."""
    rank, processes = part
    return rows[rank * len(rows) // processes : (rank + 1) * len(rows) // processes]
