"""Split corpus, scored once: every row of a part beside its peers, paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes_answering import SETS
from benchmarks.recipes_cells import WAYS, Cells, Result
from benchmarks.recipes_measuring import Difference, compare_paired, criterion

Floats = NDArray[np.float64]
#: The row of the published recipe without query translation, as the program itself asks it.
AS_TYPED = "published, raw text"


@dataclass(frozen=True)
class Tried:
    """What was trained for one row.

    Attributes:
        grid: Configurations tried on the first seed; empty where the row repeats another's.
        chosen: One cell per seed.
    """

    grid: tuple[Result, ...]
    chosen: tuple[Result, ...]

    def way(self, prefixes: tuple[str, ...]) -> str:
        """Return the way of answering, of some kinds, that does best on val over all seeds."""
        able = [way for way in self.chosen[0].val if way.startswith(prefixes)]
        return max(able, key=self.val)

    def val(self, way: str) -> float:
        """Return the mean over seeds of the criterion on val."""
        return float(np.mean([criterion(one.val[way]) for one in self.chosen]))


@dataclass(frozen=True)
class Row:
    """One row of a part.

    Attributes:
        name: Recipe, or recipe and change.
        way: How it answers.
        tried: What was trained.
        scores: Case -> (seeds, 1 + resamples).
    """

    name: str
    way: str
    tried: Tried
    scores: Mapping[str, Floats]

    @property
    def cpu_s(self) -> float:
        """Mean CPU seconds of one training."""
        return float(np.mean([one.cpu_s for one in self.tried.chosen]))

    def values(self, case: str) -> list[float]:
        """Return the score of each seed in the split as it is."""
        return [float(value) for value in self.scores[case][:, 0]]

    def against(self, peer: Row) -> dict[str, Difference]:
        """Return case -> paired difference to a peer."""
        return {
            case: compare_paired(values, peer.scores[case])
            for case, values in self.scores.items()
            if case in peer.scores
        }


@dataclass(frozen=True)
class Findings:
    """A part, scored.

    Attributes:
        part: Its name.
        rows: Row name -> row; scored on split corpus.
        tried: Row name -> all that was trained, with val scores.
    """

    part: str
    rows: Mapping[str, Row]
    tried: Mapping[str, Tried] = field(default_factory=dict)


def score_rows(part: str, tried: Mapping[str, Tried], cells: Cells, resamples: int) -> Findings:
    """Score the rows of a part on split corpus: recipes, and two other ways to answer of theirs."""
    rows = {}
    for name, own in tried.items():
        if "," not in name:
            rows[name] = _row(name, own, own.way(WAYS[name]), cells, resamples)
    if "published" in tried:
        rows[AS_TYPED] = _row(AS_TYPED, tried["published"], "raw text", cells, resamples)
    sets = tried["concepts"].way((SETS,))
    rows["concepts, label sets"] = _row(
        "concepts, label sets", tried["concepts"], sets, cells, resamples
    )
    return Findings(part, rows, tried)


def _row(name: str, tried: Tried, way: str, cells: Cells, resamples: int) -> Row:
    found = [
        cells.judge(one.cell, "corpus", resamples=resamples, only=way)[way] for one in tried.chosen
    ]
    return Row(name, way, tried, {case: np.stack([f[case] for f in found]) for case in found[0]})
