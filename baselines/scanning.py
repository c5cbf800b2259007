"""The best of many patches by an exact scan: block by block, in bounded memory, several threads.

A thread holds one block of vectors at a time; of a block only its own best are kept, and merged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.vector_files import Block, VectorFile
from landmark.errors import LandmarkError

Score = Callable[[NDArray[np.float32]], NDArray[np.floating]]

#: A block of which a smaller share is wanted is read row by row instead of whole.
_SPARSE = 0.25
#: More threads than this wait for memory, not for a core.
_MOST_THREADS = 4


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

    def best_of(task: tuple[int, Block]) -> list[Found]:
        number, block = task
        file, kept = files[number], keep[number]
        rows = None if kept is None else _wanted(kept, block)
        if rows is not None and not len(rows):
            return []
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
        return _best_of_block(file, number, block, rows, scores, top)

    tasks = [(number, block) for number, file in enumerate(files) for block in file.blocks]
    workers = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    try:
        with ThreadPoolExecutor(workers) as pool:
            return merge(pool.map(best_of, tasks), top)
    finally:
        for file in files:
            file.close()


def merge(parts: Iterable[Sequence[Found]], top: int) -> list[Found]:
    """Return the best of several lists, ties by patch_id; at most 2 x `top` are held at a time."""
    best: list[Found] = []
    for part in parts:
        best = sorted([*best, *part], key=lambda one: (-one.score, one.patch_id))[:top]
    return best


def _wanted(kept: NDArray[np.bool_], block: Block) -> NDArray[np.intp]:
    return np.flatnonzero(kept[block.start : block.start + block.rows])


def _best_of_block(
    file: VectorFile,
    number: int,
    block: Block,
    rows: NDArray[np.intp],
    scores: NDArray[np.float32],
    top: int,
) -> list[Found]:
    if np.isnan(scores).any():
        raise LandmarkError("a score is NaN: the model's vectors are damaged; train or embed again")
    count = min(top, len(scores))
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.flatnonzero(scores >= threshold)  # more than `count` where scores tie
    names = file.patch_ids(block).take(rows[places]).combine_chunks()
    # lexsort wants numbers: the rank of each name stands for it.
    name_ranks = pc.rank(names, sort_keys="ascending", tiebreaker="first").to_numpy()
    order = np.lexsort((name_ranks, -scores[places]))[:count]
    return [
        Found(
            float(scores[places[one]]),
            names[int(one)].as_py(),
            number,
            block.start + int(rows[places[one]]),
        )
        for one in order
    ]
