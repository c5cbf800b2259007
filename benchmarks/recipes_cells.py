"""The cells of the study on disk: each is trained once, judged on val, and never again.

A cell is two files: what it says of the patches (`NAME.npz`), then its notes (`NAME.json`), which
mark it as complete. A study that was stopped goes on with the cells that have no notes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.recipes import RECIPES
from baselines.text import TextEncoder
from benchmarks.recipes_answering import Asked, Gallery, answers
from benchmarks.recipes_corpus import SENSORS, Corpus
from benchmarks.recipes_measuring import Judged, criterion, measure
from benchmarks.recipes_training import OPTIONS, RECIPES_OF, Cell, train
from landmark.commits import atomic_path, write_atomic

#: Row -> how the ways begin in which the program answers for it.
WAYS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "published": ("raw text", "translated"),
        "clip": ("raw text", "translated"),
        "multilabel": ("translated",),
        "concepts": ("dial",),
    }
)

Floats = NDArray[np.float64]


class OutOfTimeError(Exception):
    """The time this sitting was given is over; what is done stays."""


@dataclass(frozen=True)
class Result:
    """A complete cell.

    Attributes:
        cell: What was trained.
        cpu_s: CPU seconds of its training steps.
        updates: Optimiser steps.
        images: Patches seen.
        val: Way of answering -> case -> score on val.
    """

    cell: Cell
    cpu_s: float
    updates: int
    images: int
    val: Mapping[str, Mapping[str, float]]

    def value(self, way: str) -> float:
        """Return the criterion of a way of answering."""
        return criterion(self.val[way])

    def best_way(self, row: str) -> str:
        """Return the way of answering, of those of a row, that does best on val."""
        return max((way for way in self.val if way.startswith(WAYS[row])), key=self.value)

    def best(self, row: str) -> float:
        """Return the criterion of that way."""
        return self.value(self.best_way(row))


class Cells:
    """Trains cells and keeps them in a folder.

    Args:
        folder: Where they lie.
        corpora: Name -> opens the corpus (called when a cell needs training or judging).
        texts: Pooling -> text encoder.
        until: `time.monotonic()` after which no cell is begun; None: no limit.
    """

    def __init__(
        self,
        folder: Path,
        corpora: Mapping[str, Callable[[], Corpus]],
        texts: Mapping[str, TextEncoder],
        until: float | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open = corpora
        self._corpora: dict[str, Corpus] = {}
        self._asked: dict[str, Asked] = {}
        self._texts = texts
        self._until = until

    def corpus(self, name: str) -> Corpus:
        """Return a corpus, opened once."""
        if name not in self._corpora:
            self._corpora[name] = self._open[name]()
        return self._corpora[name]

    def ensure(self, cell: Cell) -> Result:
        """Return a cell's result, from disk or by training it now.

        Raises:
            OutOfTimeError: It would have to be trained, and time is over.
        """
        held = self.find(cell)
        if held is not None:
            return held
        if self._until is not None and time.monotonic() > self._until:
            raise OutOfTimeError(cell.name)
        trained = train(cell, self.corpus(cell.corpus), self._texts)
        outputs = self._folder / f"{cell.name}.npz"
        with atomic_path(outputs) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **trained.outputs)
        result = self._keep(
            Result(cell, round(trained.cpu_s, 2), trained.updates, trained.images, self._val(cell))
        )
        print(
            f"{cell.name}: {result.cpu_s:.1f} CPU-s, val {result.best(cell.recipe):.4f} "
            f"by {result.best_way(cell.recipe)}",
            file=sys.stderr,
            flush=True,
        )
        return result

    def has(self, cell: Cell) -> bool:
        """Return whether a cell is complete."""
        return (self._folder / f"{cell.name}.json").is_file()

    def find(self, cell: Cell) -> Result | None:
        """Return the result of a complete cell, or None; nothing is trained."""
        if not self.has(cell):
            return None
        held = json.loads((self._folder / f"{cell.name}.json").read_bytes())
        result = Result(cell, held["cpu_s"], held["updates"], held["images"], held["val"])
        if held.get("asked") == self.asked(cell.corpus).fingerprint:
            return result
        # Queries are understood otherwise than when it was judged; training has not changed.
        return self._keep(replace(result, val=self._val(cell)))

    def asked(self, corpus: str) -> Asked:
        """Return a corpus' queries, translated once."""
        if corpus not in self._asked:
            self._asked[corpus] = Asked(self.corpus(corpus).queries, self._texts)
        return self._asked[corpus]

    def _val(self, cell: Cell) -> dict[str, dict[str, float]]:
        return {
            way: {case: round(float(value[0]), 6) for case, value in values.items()}
            for way, values in self.judge(cell, "val", resamples=0).items()
        }

    def _keep(self, result: Result) -> Result:
        notes = {**asdict(result.cell), **{k: v for k, v in asdict(result).items() if k != "cell"}}
        notes["asked"] = self.asked(result.cell.corpus).fingerprint
        path = self._folder / f"{result.cell.name}.json"
        write_atomic(path, json.dumps(notes, indent=1) + "\n")
        return result

    def judge(
        self, cell: Cell, split: str, *, resamples: int, only: str | None = None
    ) -> dict[str, dict[str, Floats]]:
        """Return way -> case -> (1 + resamples,) scores of a trained cell on a split.

        Args:
            cell: Which.
            split: `val` or `corpus`.
            resamples: Galleries beside the split as it is.
            only: The one way of answering that is wanted.
        """
        corpus = self.corpus(cell.corpus)
        judged = Judged.of(corpus, split, cell.seed)
        galleries = judged.resampled(resamples)
        asked = self.asked(cell.corpus)
        gallery = self._gallery(cell, corpus, split)
        return {
            way: measure(judged, asked.queries, scores, galleries)
            for way, scores in answers(cell.recipe, pooling_of(cell), gallery, asked, only)
            if only in (None, way)
        }

    def _gallery(self, cell: Cell, corpus: Corpus, split: str) -> Gallery:
        def held(name: str, outputs: Any) -> NDArray[np.float32] | None:
            parts = [f"{split}/{sensor}/{name}" for sensor in SENSORS]
            if parts[0] not in outputs:
                return None
            return np.concatenate([outputs[part] for part in parts])

        rows = corpus.rows("train", cell.seed)
        masks = np.concatenate([corpus.sensors[s].label_mask[rows[s]] for s in SENSORS])
        with np.load(self._folder / f"{cell.name}.npz", allow_pickle=False) as outputs:
            scale = float(outputs["scale"]) if "scale" in outputs else 1.0
            return Gallery(held("probabilities", outputs), held("vectors", outputs), scale, masks)


def pooling_of(cell: Cell) -> str:
    """Return how a cell's recipe pools the tokens of a text."""
    default = RECIPES[RECIPES_OF[cell.recipe]].pooling
    return str(OPTIONS[cell.option].get("pooling", default))
