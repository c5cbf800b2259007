"""Relevance files (TREC, four columns): `qrels/binary.tsv` and `qrels/graded.tsv`.

They state nothing that the label masks do not: they are a convenience for other tools, and are
left out where they would be large. Both hold the lines with relevance > 0 only: by the TREC
convention all else, patches with unknown labels too, is not relevant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from harmonize.queries import Gallery, Query
from landmark.commits import atomic_path, hash_file
from landmark.relevance import jaccard, relevant

#: The files are written below this many lines (together), or when the manifest asks for them.
MOST_LINES = 5_000_000
FILES = ("binary.tsv", "graded.tsv")

Grades = Callable[[Query, Gallery], NDArray[np.int64]]


@dataclass(frozen=True)
class Documents:
    """The gallery with its ids, sorted by patch_id.

    Attributes:
        patch_ids: Patch ids of split `corpus`, ascending.
        gallery: Their masks, in the same order.
    """

    patch_ids: Sequence[str]
    gallery: Gallery


def binary_grades(query: Query, gallery: Gallery) -> NDArray[np.int64]:
    """Return (n,) 1 where a patch carries every class of the query and surely no negated one."""
    return relevant(
        gallery.label_masks, query.wanted_mask, query.absent_mask, gallery.known_masks
    ).astype(np.int64)


def graded_grades(query: Query, gallery: Gallery) -> NDArray[np.int64]:
    """Return (n,) round(100 x Jaccard) of the query's classes and each patch's."""
    grades = jaccard(gallery.label_masks, query.wanted_mask, query.absent_mask, gallery.known_masks)
    return np.rint(100 * grades).astype(np.int64)


def count_lines(queries: Sequence[Query], gallery: Gallery) -> int:
    """Return how many lines both files would hold."""
    # Few distinct masks stand for many patches.
    pairs = np.stack([gallery.label_masks, gallery.known_masks]).astype(np.int64)
    masks, times = np.unique(pairs, axis=1, return_counts=True)
    few = Gallery(masks[0], masks[1])
    return sum(
        int(times[grades(query, few) > 0].sum())
        for query in queries
        for grades in (binary_grades, graded_grades)
    )


def write_qrels(folder: Path, queries: Sequence[Query], documents: Documents) -> None:
    """Write both files; a file that already holds the same lines is left alone."""
    for name, grades in zip(FILES, (binary_grades, graded_grades), strict=True):
        path = folder / name
        if path.exists() and hash_file(path) == _hash_lines(queries, documents, grades):
            continue
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as stream,
        ):
            stream.writelines(_lines(queries, documents, grades))


def remove_qrels(folder: Path) -> None:
    """Remove both files and their folder, where they are."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _hash_lines(queries: Sequence[Query], documents: Documents, grades: Grades) -> str:
    digest = xxhash.xxh3_128()
    for line in _lines(queries, documents, grades):
        digest.update(line.encode())
    return digest.hexdigest()


def _lines(queries: Sequence[Query], documents: Documents, grades: Grades) -> Iterator[str]:
    for query in queries:
        values = grades(query, documents.gallery)
        for row in np.flatnonzero(values).tolist():
            yield f"{query.id}\t0\t{documents.patch_ids[row]}\t{values[row]}\n"
