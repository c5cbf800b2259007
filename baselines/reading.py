"""How batches are read: threads or processes, stored or spread pixels, fresh or reused arrays."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from landmark.errors import LandmarkError

Array = NDArray[Any]
T = TypeVar("T")
#: Decoding threads at most unless told: a step's patches are soon spread too thin.
_MAX_WORKERS = 8
#: Where arrays start: a page, so that slots never share one.
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True)
class Reading:
    """How steps are read.

    Attributes:
        workers: Decoding threads; 0: the calling thread, nothing is read ahead; None: as many
            as help on this machine.
        processes: Reading processes instead of threads; 0: none. They help where one process
            cannot keep a device busy: threads here already decode side by side.
        packed: Give native planes as stored, (n, values), to be spread on the device
            (`baselines.scaling.unpack`): half the bytes to move. Else (n, bands, 120, 120).
        floats: Give float32 (values as stored): coarse bands are spread and cast in one pass, for
            a device that is this CPU. Not with `packed`.
        reuse: Arrays are taken again: a step's are valid until the next step is asked for.
        pinned: Page-locked arrays, for transfers to a CUDA device beside the computing.
    """

    workers: int | None = None
    processes: int = 0
    packed: bool = False
    floats: bool = False
    reuse: bool = False
    pinned: bool = False

    def __post_init__(self) -> None:
        if self.packed and self.floats:
            raise ValueError("packed planes are given as stored")

    def dtype(self, stored: str) -> np.dtype[Any]:
        """Return the type of images that are stored as `stored`."""
        return np.dtype(np.float32 if self.floats else stored)


@dataclass(frozen=True)
class Room:
    """Space for one step's images: sensor -> (dtype, shape for the largest step)."""

    shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]

    @property
    def nbytes(self) -> int:
        """Bytes of one slot, each array starting on a page."""
        return sum(self._sizes())

    def arrays(self, buffer: Array) -> dict[str, Array]:
        """Return the arrays of one slot as views of its bytes."""
        arrays, start = {}, 0
        for (sensor, (dtype, shape)), size in zip(self.shapes.items(), self._sizes(), strict=True):
            values = int(np.prod(shape))
            flat = buffer[start : start + values * dtype.itemsize].view(dtype)
            arrays[sensor] = flat.reshape(shape)
            start += size
        return arrays

    def _sizes(self) -> list[int]:
        exact = (int(np.prod(shape)) * dtype.itemsize for dtype, shape in self.shapes.values())
        return [-(-size // _PAGE) * _PAGE for size in exact]


def private_slots(room: Room, count: int, *, pinned: bool) -> list[dict[str, Array]]:
    """Return slots of this process: numpy memory, or page-locked memory of torch."""
    if not pinned:
        return [room.arrays(np.empty(room.nbytes, np.uint8)) for _ in range(count)]
    import torch

    buffers = [
        torch.empty(room.nbytes, dtype=torch.uint8, pin_memory=True).numpy() for _ in range(count)
    ]
    return [room.arrays(buffer) for buffer in buffers]


class SharedSlots:
    """Slots in memory that several processes map: a file in memory, removed once all have it.

    Attributes:
        path: The file, for others to map; gone after `forget`.
        slots: The arrays of each slot.
    """

    def __init__(self, room: Room, count: int) -> None:
        """Reserve the memory.

        Args:
            room: Space of one slot.
            count: Slots.

        Raises:
            LandmarkError: There is not as much left.
        """
        memory = Path("/dev/shm")  # noqa: S108 (memory, where the system has it; else a file)
        folder = memory if os.access(memory, os.W_OK) else None
        descriptor, name = tempfile.mkstemp(prefix="landmark-", dir=folder)
        self.path = Path(name)
        try:
            _reserve(descriptor, max(1, room.nbytes * count), self.path.parent)
            self.slots = _map_slots(descriptor, room, count)
        except BaseException:
            self.forget()
            raise
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Remove the file's name: the memory lives as long as a process maps it."""
        self.path.unlink(missing_ok=True)


def map_slots(path: Path, room: Room, count: int) -> list[dict[str, Array]]:
    """Return the slots another process made."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        return _map_slots(descriptor, room, count)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int, folder: Path) -> None:
    """Take the space of a file now: else a full memory disk is a bus error later."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise LandmarkError(
            f"{folder} has no room for the {size} bytes that reading processes share "
            f"({error.strerror}); use fewer --reading-processes or a smaller --batch, or make "
            f"{folder} larger"
        ) from None


def _map_slots(descriptor: int, room: Room, count: int) -> list[dict[str, Array]]:
    mapped = mmap.mmap(descriptor, max(1, room.nbytes * count))
    data = np.frombuffer(mapped, dtype=np.uint8)
    return [
        room.arrays(data[slot * room.nbytes : (slot + 1) * room.nbytes]) for slot in range(count)
    ]


def reading_pool(workers: int | None) -> ThreadPoolExecutor:
    """Return the threads that decode patches; None: as many as help on this machine."""
    count = min(_MAX_WORKERS, os.cpu_count() or 1) if workers is None else workers
    return ThreadPoolExecutor(max(1, count), thread_name_prefix="decode")


def one_ahead(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
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
