"""The best of many patches by an exact scan: block by block, in bounded memory, several threads.

A thread holds one block of vectors at a time; of a block only its own best are kept. Names are read
at the end, of those blocks alone that hold one of the best.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from baselines.vector_files import Block, VectorFile
from landmark.errors import LandmarkError

Score = Callable[[NDArray[np.float32]], NDArray[np.floating]]

#: A block of which a smaller share is wanted is read row by row instead of whole.
_SPARSE = 0.25
#: More threads than this wait for memory, not for a core.
_MOST_THREADS = 4
_ALONE = threading.Lock()


@dataclass(frozen=True)
class Found:
    """One of the best.

    Attributes:
        score: float32 value; larger is better.
        patch_id: The patch.
        file: Which of the files scanned.
        row: Its row there.
    """

    score: float
    patch_id: str
    file: int
    row: int


@dataclass(frozen=True)
class _Candidates:
    """The best of one block, with all that tie with the last of them.

    Attributes:
        file: Which of the files scanned.
        block: Which of its blocks.
        rows: (n,) rows of the block.
        scores: (n,) float32.
    """

    file: int
    block: Block
    rows: NDArray[np.intp]
    scores: NDArray[np.float32]

    def above(self, threshold: np.float32) -> _Candidates:
        """Return those that score at least so much."""
        kept = self.scores >= threshold
        return _Candidates(self.file, self.block, self.rows[kept], self.scores[kept])


def scan(
    paths: Sequence[Path],
    score: Score,
    top: int,
    keep: Sequence[NDArray[np.bool_] | None],
    threads: int | None = None,
) -> list[Found]:
    """Return the best patches of several files, ties by patch_id.

    Args:
        paths: Files of vectors.
        score: Gives (n,) scores of (n, width) vectors; called by several threads.
        top: How many at most.
        keep: Per file (rows,) which patches count; None: all.
        threads: None: one per core, at most four.

    Raises:
        LandmarkError: A file is damaged, or a score is NaN.
    """
    files = [VectorFile(path) for path in paths]
    largest = max((b.rows * file.width for file in files for b in file.blocks), default=0)
    room = threading.local()

    def best_of(task: tuple[int, Block]) -> _Candidates:
        number, block = task
        file, kept = files[number], keep[number]
        rows = None if kept is None else _wanted(kept, block)
        if rows is not None and not len(rows):
            return _Candidates(number, block, rows, np.empty(0, np.float32))
        if not hasattr(room, "buffer"):
            room.buffer = np.empty(largest, "<f4")
        out = room.buffer[: block.rows * file.width].reshape(block.rows, file.width)
        sparse = rows is not None and len(rows) < _SPARSE * block.rows
        vectors = file.vectors(block, rows if sparse else None, out)
        scores = np.asarray(score(vectors), dtype=np.float32)
        if rows is None:
            rows = np.arange(block.rows)
        elif not sparse:
            scores = scores[rows]
        if np.isnan(scores).any():
            raise LandmarkError(
                "a score is NaN: the model's vectors are damaged; train or embed again"
            )
        return _Candidates(number, block, rows, scores).above(_lowest_of_best(scores, top))

    tasks = [(number, block) for number, file in enumerate(files) for block in file.blocks]
    workers = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    try:
        # Each thread has a block; threads of the matrix product's own would only wait for them. The
        # limit holds for the process and is taken back: one scan at a time, which uses all cores.
        with (
            _ALONE,
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(workers) as pool,
        ):
            return _named(files, list(pool.map(best_of, tasks)), top)
    finally:
        for file in files:
            file.close()


def _wanted(kept: NDArray[np.bool_], block: Block) -> NDArray[np.intp]:
    return np.flatnonzero(kept[block.start : block.start + block.rows])


def _lowest_of_best(scores: NDArray[np.float32], top: int) -> np.float32:
    """Return the score of the last of the best; -inf where there are no more than that."""
    if len(scores) <= top:
        return np.float32(-np.inf)
    return np.partition(scores, len(scores) - top)[len(scores) - top]


def _named(files: Sequence[VectorFile], parts: Sequence[_Candidates], top: int) -> list[Found]:
    """Return the best of all blocks; beside them the names of one block are held at a time."""
    threshold = _lowest_of_best(
        np.concatenate([np.empty(0, "<f4"), *(p.scores for p in parts)]), top
    )
    best: list[Found] = []
    for part in (part.above(threshold) for part in parts):
        if not len(part.rows):
            continue
        names = files[part.file].patch_ids(part.block)
        found = [
            Found(float(score), names[int(row)].as_py(), part.file, part.block.start + int(row))
            for row, score in zip(part.rows, part.scores, strict=True)
        ]
        best = sorted([*best, *found], key=lambda one: (-one.score, one.patch_id))[:top]
    return best
