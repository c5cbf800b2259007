"""Relevance an archive publishes for its queries: `shards/qrels/published.tsv`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landmark.dataset import Dataset
from landmark.digits import whole_number
from landmark.errors import InputError

FILE = "published.tsv"
#: Kind of the queries these judgements belong to.
KIND = "published"

Grades = dict[str, dict[str, int]]


def read_grades(dataset: Dataset) -> Grades:
    """Return query id -> patch_id -> published grade; empty where nothing was taken over.

    Raises:
        InputError: A line is damaged.
    """
    path = dataset.qrels / FILE
    if not path.is_file():
        return {}
    grades: Grades = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split("\t")
        grade = whole_number(parts[3].removeprefix("-")) if len(parts) == 4 else None
        if grade is None:
            raise InputError(f"{path}, line {number}: is damaged; run `landmark harmonize` again")
        grades.setdefault(parts[0], {})[parts[2]] = -grade if parts[3][0] == "-" else grade
    return grades


def judgements(
    patch_ids: list[str], grades: dict[str, int]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return binary and graded relevance (0..1) of patches; what is not judged is not relevant."""
    own = np.array([max(0, grades.get(name, 0)) for name in patch_ids], dtype=np.float64)
    return own > 0, own / max(1.0, own.max(initial=0.0))
