"""Reading processes: they fill slots of shared memory, and only slot numbers travel.

A fresh array per batch costs more than decoding it (measured: a factor of two to three with two
processes), so the slots are made once. The consumer's process owns them: it hands a free slot
to a reading process, gives the filled one to its caller, and frees it when the caller asks for
the next step. A slot is thus never written while somebody may read it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baselines.reading import Array, Room, SharedSlots, map_slots
from landmark.errors import LandmarkError

Rows = Mapping[str, NDArray[np.intp]]

#: A terminal and most schedulers send these to the whole process group. What they mean is for the
#: process that trains to say: it still needs the step in hand, to write its checkpoint after it.
_FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM)
#: Seconds a process has to finish the step in hand once its pipe is closed.
_PATIENCE = 5.0


class Reader(Protocol):
    """What a reading process reads from; it is pickled once, at the start."""

    def read(self, rows: NDArray[np.integer], *, out: Array, packed: bool) -> Array:
        """Put the images of `rows` in `out`."""


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection


class ReadingProcesses:
    """Some processes that read steps for this one. Close it, or use it as a context."""

    def __init__(
        self, readers: Mapping[str, Reader], room: Room, count: int, *, packed: bool
    ) -> None:
        """Start the processes.

        Args:
            readers: Sensor -> what is read; picklable (they open their files again).
            room: Space of the largest step.
            count: Processes.
            packed: Whether native planes are read as stored.
        """
        # Two steps in hand per process, one with the caller, one just filled, one to spare.
        self._shared = SharedSlots(room, 2 * count + 3)
        # spawn: a forked child of a process with threads may hang on a lock nobody holds.
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        # Also where nobody closes: at its exit multiprocessing sends SIGTERM, which the processes
        # ignore, and waits for them. A priority of 0 or more comes before that.
        self._end = Finalize(self, _end, args=(self._workers,), exitpriority=0)
        slots = len(self._shared.slots)
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                arguments = (theirs, dict(readers), self._shared.path, room, slots, packed)
                process = context.Process(target=_serve, args=arguments, daemon=True)
                with _inherited_block():
                    process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours))
            for worker in self._workers:
                self._answer(worker)  # it has mapped the slots
        except BaseException:
            self.close()
            raise
        finally:
            self._shared.forget()

    def __enter__(self) -> ReadingProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; arrays handed out stay readable."""
        self._end()

    def read(self, steps: Iterable[Rows]) -> Generator[dict[str, Array], None, None]:
        """Give the images of each step in order; valid until the next one is asked for.

        Raises:
            LandmarkError: An image is damaged, or a process ended.
        """
        free = deque(range(len(self._shared.slots)))
        pending: deque[tuple[_Worker, int, dict[str, int]]] = deque()
        coming = enumerate(steps)
        try:
            while True:
                # One slot is always kept back: the caller's own is freed only below.
                while len(free) > 1 and (following := next(coming, None)) is not None:
                    number, rows = following
                    worker = self._workers[number % len(self._workers)]
                    slot = free.popleft()
                    self._send(worker, (slot, dict(rows)))
                    pending.append((worker, slot, {s: len(r) for s, r in rows.items()}))
                if not pending:
                    return
                worker, slot, lengths = pending.popleft()
                self._answer(worker)
                arrays = self._shared.slots[slot]
                yield {sensor: arrays[sensor][:length] for sensor, length in lengths.items()}
                free.append(slot)
        finally:
            # Left early: wait for what is in hand, so that no process writes to a slot later.
            for worker, _, _ in pending:
                with contextlib.suppress(LandmarkError, OSError):
                    self._answer(worker)

    def _send(self, worker: _Worker, task: tuple[int, dict[str, NDArray[np.intp]]]) -> None:
        try:
            worker.connection.send(task)
        except OSError:
            raise self._ended(worker) from None

    def _answer(self, worker: _Worker) -> None:
        wait([worker.connection, worker.process.sentinel])
        try:
            error = worker.connection.recv() if worker.connection.poll() else EOFError()
        except (EOFError, OSError):
            error = EOFError()
        if isinstance(error, EOFError):
            raise self._ended(worker)
        if error is not None:
            raise LandmarkError(error)

    @staticmethod
    def _ended(worker: _Worker) -> LandmarkError:
        worker.process.join(timeout=1)
        return LandmarkError(
            f"a reading process ended (exit code {worker.process.exitcode}); was it killed, "
            "or is memory short? Train again with fewer reading processes"
        )


@contextlib.contextmanager
def _inherited_block() -> Iterator[None]:
    """Block signals meant for this process, so that one started meanwhile begins without them.

    A spawned process inherits the mask; until `_serve` ignores them, they would end it.
    """
    # It is started with the first process, and unblocks these very signals when it was.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: list[_Worker]) -> None:
    """End processes, by their pipes or else by SIGKILL: they ignore SIGTERM."""
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        # Without its pipe a process ends after the step in hand.
        worker.process.join(timeout=_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()


def _serve(
    connection: Connection,
    readers: Mapping[str, Reader],
    path: Path,
    room: Room,
    count: int,
    packed: bool,
) -> None:
    """Fill slots until the other side hangs up, whatever signals the group is sent."""
    for number in _FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_PARENT)
    slots: Sequence[Mapping[str, Array]] = map_slots(path, room, count)
    with contextlib.suppress(EOFError, OSError):
        connection.send(None)
        while True:
            slot, rows = connection.recv()
            error = None
            try:
                for sensor, wanted in rows.items():
                    out = slots[slot][sensor][: len(wanted)]
                    readers[sensor].read(wanted, out=out, packed=packed)
            except (LandmarkError, OSError, IndexError) as fault:
                error = str(fault)
            connection.send(error)
