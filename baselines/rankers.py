"""How documents get scores for a query: by vectors, or by class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baselines.concepts import ConceptQuery
from baselines.embedding import Embeddings
from baselines.queries import Query
from landmark.taxonomy import CLASSES

#: Probabilities are kept this far from 0 and 1, so that their logarithms are finite.
_EPSILON = 1e-6


class Ranker(Protocol):
    """Something that scores all documents for a query."""

    @property
    def run(self) -> str:
        """Name of the run, or of the reference."""

    @property
    def recipe(self) -> str | None:
        """Recipe of the run; None for a reference without training."""

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) scores, documents in patch_id order."""

    def many(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (q, n) scores of several queries."""


class OneByOne:
    """A ranker that gains nothing from being asked several queries at once."""

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) scores, documents in patch_id order."""
        raise NotImplementedError

    def many(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (q, n) scores of several queries."""
        return np.stack([self.scores(query).astype(np.float32) for query in queries])


@dataclass(frozen=True)
class VectorRanker:
    """Ranks by the cosine of text and image vectors.

    Attributes:
        run: Name shown.
        recipe: Recipe it was trained with.
        vectors: (n, d) float32 unit vectors, documents in patch_id order.
        texts: Query id -> (d,) float32 unit vector.
    """

    run: str
    recipe: str | None
    vectors: NDArray[np.float32]
    texts: dict[str, NDArray[np.float32]]

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) cosines."""
        return self.vectors @ self.texts[query.id]

    def many(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (q, n) cosines, in one matrix product."""
        return np.stack([self.texts[query.id] for query in queries]) @ self.vectors.T


@dataclass(frozen=True)
class ConceptRanker(OneByOne):
    """Ranks by the classes a query's words are translated to (see `baselines.concepts`).

    Attributes:
        run: Name shown.
        recipe: Recipe it was trained with.
        described: (n, 12 + d) class probabilities and vectors, documents in patch_id order.
        asked: Query id -> the query in classes.
    """

    run: str
    recipe: str | None
    described: NDArray[np.float32]
    asked: dict[str, ConceptQuery]

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) scores between containment and expected overlap."""
        return self.asked[query.id].scores(self.described)


@dataclass(frozen=True)
class ProbabilityRanker(OneByOne):
    """Ranks by the sum of log class probabilities, log(1 - p) for negated classes.

    Attributes:
        run: Name shown.
        recipe: Recipe, if it was trained.
        probabilities: (n, 12) in taxonomy order, documents in patch_id order.
    """

    run: str
    recipe: str | None
    probabilities: NDArray[np.floating]

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) log probabilities of the query, its classes taken as independent."""
        return log_probability(self.probabilities, query.classes, query.absent)


@dataclass(frozen=True)
class FileRanker:
    """Ranks by what lies in embeddings files, a part of them at a time.

    Attributes:
        run: Name shown.
        recipe: Recipe it was trained with.
        files: The files, in shard order.
        order: (n,) where each document lies in them (`embedding.order_in`).
        of_part: Rows of a file -> what ranks them.
    """

    run: str
    recipe: str | None
    files: Sequence[Embeddings]
    order: NDArray[np.int64]
    of_part: Callable[[NDArray[np.float32]], Ranker]

    def scores(self, query: Query) -> NDArray[np.floating]:
        """Return (n,) scores, documents in patch_id order."""
        return self.many([query])[0]

    def many(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (q, n) scores of several queries, reading the files once."""
        found = np.empty((len(queries), self.order.size), np.float32)
        start = 0
        for file in self.files:
            for part in file.vectors():
                found[:, start : start + len(part)] = self.of_part(part).many(queries)
                start += len(part)
        for row in found:
            row[:] = row[self.order]
        return found


def log_probability(
    probabilities: NDArray[np.floating], classes: Sequence[str], absent: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Return (n,) log probabilities that a patch carries some classes and lacks others.

    Args:
        probabilities: (n, 12) in taxonomy order, 0..1.
        classes: Classes carried.
        absent: Classes lacked.
    """
    wanted = [CLASSES.index(name) for name in classes]
    lacked = [CLASSES.index(name) for name in absent]
    clipped = np.clip(probabilities.astype(np.float64), _EPSILON, 1 - _EPSILON)
    present = np.log(clipped[:, wanted]).sum(axis=1)
    return present + np.log1p(-clipped[:, lacked]).sum(axis=1)
