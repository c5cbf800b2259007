"""Shards -> batches: mapped files, single patches decoded in threads, one batch ahead.

A `Split` is one sensor and split of a dataset as arrays: the small columns are read whole, the
images one by one where they are asked for. Batches hold pixels as stored (uint16 reflectance x
10000 or float32 dB), coarse bands replicated to 120 x 120; `baselines.scaling` does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from baselines.sampling import Order, Position
from landmark.commits import hash_json, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.grid import PIXELS
from landmark.schema import ImageLayout
from landmark.shards import ShardReader

T = TypeVar("T")

_COLUMNS = ("patch_id", "label_mask", "known_mask", "caption")
#: Patches read by `Split.batches` at a time unless told.
_BATCH = 256
#: More decoding threads than this do not help: blosc2 holds the interpreter lock.
_MAX_WORKERS = 4


@dataclass(frozen=True)
class Batch:
    """What a step needs of one sensor.

    Attributes:
        rows: (n,) rows of the split.
        images: (n, bands, 120, 120) as stored.
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
        layout: How images are stored.
        patch_id: (n,) ids.
        label_mask: (n,) uint16, bit = class present.
        known_mask: (n,) uint16, bit = class decided.
        captions: Unique captions, sorted.
        caption_id: (n,) index into `captions`.
    """

    def __init__(self, sensor: str, readers: Sequence[ShardReader]) -> None:
        self.sensor = sensor
        self.layout: ImageLayout = readers[0].layout
        for reader in readers:
            if reader.layout != self.layout:
                raise LandmarkError(
                    f"{reader.path}: its images are laid out otherwise than those of "
                    f"{readers[0].path.name}; run `landmark harmonize` again"
                )
        self._readers = tuple(readers)
        self._starts = np.cumsum([0, *(reader.rows for reader in readers)])
        table = pa.concat_tables([reader.table(_COLUMNS) for reader in readers])
        self.patch_id: NDArray[np.object_] = table["patch_id"].to_numpy()
        self.label_mask: NDArray[np.uint16] = table["label_mask"].to_numpy()
        self.known_mask: NDArray[np.uint16] = table["known_mask"].to_numpy()
        captions, self.caption_id = np.unique(
            table["caption"].to_numpy().astype(str), return_inverse=True
        )
        self.captions: list[str] = captions.tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard files."""
        for reader in self._readers:
            reader.close()

    def image(self, row: int, out: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
        """Return (bands, 120, 120) of one row as stored, or put it in `out`."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._readers[shard].image(row - int(self._starts[shard]), out)

    def read(
        self, rows: NDArray[np.integer], pool: ThreadPoolExecutor | None = None
    ) -> NDArray[np.generic]:
        """Return (n, bands, 120, 120) of some rows as stored; threads of `pool` decode."""
        shape = (len(rows), len(self.layout.bands), PIXELS, PIXELS)
        images = np.empty(shape, dtype=self.layout.dtype)

        def fill(place: int) -> None:
            self.image(int(rows[place]), images[place])

        for _ in pool.map(fill, range(len(rows))) if pool else map(fill, range(len(rows))):
            pass
        return images

    def batches(self, size: int = _BATCH, workers: int | None = None) -> Iterator[Batch]:
        """Give all rows in order: evaluation, embedding. The next batch is read meanwhile."""
        rows = np.arange(len(self))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        with reading_pool(workers) as pool:
            jobs = [lambda part=part: Batch(part, self.read(part, pool)) for part in parts]
            yield from _one_ahead(jobs)


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


def reading_pool(workers: int | None) -> ThreadPoolExecutor:
    """Return the threads that decode patches; None: as many as help on this machine."""
    count = min(_MAX_WORKERS, os.cpu_count() or 1) if workers is None else workers
    return ThreadPoolExecutor(max(1, count), thread_name_prefix="decode")


def training_batches(
    splits: Mapping[str, Split],
    usable: Mapping[str, NDArray[np.intp]],
    order: Order,
    start: Position,
    workers: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> Generator[Step, None, None]:
    """Give the remaining steps of an epoch, read one step ahead.

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
    with reading_pool(workers) as pool:

        def read(step: int) -> Step:
            places = order.batch(start.epoch, step)
            rows = {sensor: usable[sensor][drawn] for sensor, drawn in places.items()}
            batches = {}
            for sensor, whole in rows.items():
                own = share(whole, part)
                batches[sensor] = Batch(own, splits[sensor].read(own, pool))
            return Step(step, batches, rows)

        jobs = [lambda step=step: read(step) for step in range(start.step, order.steps)]
        yield from _one_ahead(jobs)


def share(rows: NDArray[np.intp], part: tuple[int, int]) -> NDArray[np.intp]:
    """Return one process's contiguous share of a step's rows; sizes differ by at most one."""
    rank, processes = part
    return rows[rank * len(rows) // processes : (rank + 1) * len(rows) // processes]


def _one_ahead(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Run jobs in order in a thread, one ahead of the consumer."""
    with ThreadPoolExecutor(1, thread_name_prefix="batch") as thread:
        waiting: Future[T] | None = None
        for job in jobs:
            following = thread.submit(job)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
