"""How a trained cell answers the queries: every way of asking that the study compares.

All of them are functions of the outputs a cell left behind, so that trying another one on val
costs no training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from baselines.concept_queries import AWAY, caption_of
from baselines.concepts import ConceptQuery
from baselines.queries import Query
from baselines.rankers import log_probability
from baselines.text import TextEncoder
from baselines.translation import Request, Translator
from landmark.commits import hash_json
from landmark.taxonomy import CLASSES

#: Recipes that compare vectors of images and texts.
CONTRASTIVE = ("published", "clip")
#: How ways begin that score over label sets.
SETS = "sets"
#: Dial positions tried; the program's default is among them.
BETAS = (0.0, 0.33, 0.5, 0.67, 0.8, 1.0)
#: How far the label sets of the training patches correct independent probabilities.
STRENGTHS = (0.0, 0.5, 1.0)

_EPSILON = 1e-6
#: Weights below are not followed when a phrase may mean several classes.
_NEGLECTED = 0.02
#: Share of the prior over label sets spread as if classes were independent.
_SMOOTHING = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gallery:
    """The outputs of a cell for the patches that are ranked, sensors one after another.

    Attributes:
        probabilities: (n, 12), or None.
        vectors: (n, dim) unit vectors, or None.
        scale: 1 / temperature.
        masks: Labels of the cell's training patches (for the prior over label sets).
    """

    probabilities: NDArray[np.float32] | None
    vectors: NDArray[np.float32] | None
    scale: float
    masks: NDArray[np.uint16]


class Asked:
    """The queries of a corpus, translated once.

    Args:
        queries: What is asked.
        texts: Pooling -> text encoder.
    """

    def __init__(self, queries: Sequence[Query], texts: Mapping[str, TextEncoder]) -> None:
        self.queries = tuple(queries)
        self._texts = texts
        translator = Translator(texts["mean"])
        self.requests = [translator.translate(query.text) for query in queries]

    def raw(self, pooling: str) -> NDArray[np.float32]:
        """Return (q, dim) vectors of the queries as they are typed."""
        return self._texts[pooling].encode([query.text for query in self.queries])

    def translated(self, pooling: str) -> NDArray[np.float32]:
        """Return (q, dim) vectors of what the queries were understood as, as the program asks.

        The caption of the classes asked for, less the mean of the names of those excluded.
        """
        encode = self._texts[pooling].encode
        vectors = []
        for query, request in zip(self.queries, self.requests, strict=True):
            wanted = caption_of(request)
            away = [name.lower() for name in request.excluded]
            vector = encode([wanted or query.text])[0] if wanted or not away else 0.0
            vectors.append(vector - AWAY * encode(away).mean(axis=0) if away else vector)
        return np.stack(vectors)

    @property
    def fingerprint(self) -> str:
        """Hash of all that answers depend on beside a cell's outputs."""
        meant = [
            [query.id, request.wanted.round(6).tolist(), request.absent.round(6).tolist()]
            for query, request in zip(self.queries, self.requests, strict=True)
        ]
        return hash_json([meant, BETAS, STRENGTHS])


def answers(
    recipe: str, pooling: str, gallery: Gallery, asked: Asked, only: str | None = None
) -> Iterator[tuple[str, Floats]]:
    """Give (way, scores (q, n)) for every way a recipe may answer, or the one that is wanted.

    Contrastive recipes: the text as typed, or the caption of the classes it was understood as.
    The classifier: the product of the probabilities of these classes. `concepts`: its score at
    each position of the dial; and the same two quantities, exactly, over label sets.
    """
    if recipe in CONTRASTIVE:
        yield "raw text", _cosines(gallery, asked.raw(pooling))
        yield "translated", _cosines(gallery, asked.translated(pooling))
        return
    # What a classifier answers, be it trained by recipe `multilabel` or as part of `concepts`.
    yield "translated", _products(gallery, asked)
    if recipe != "concepts":
        return
    for beta in BETAS:
        if only in (None, f"dial {beta:g}"):
            yield f"dial {beta:g}", _concepts(gallery, asked, beta)
    for strength in STRENGTHS:
        named = {f"{SETS} {strength:g} dial {beta:g}": beta for beta in BETAS}
        if only is None or only in named:
            carried, overlap = _over_sets(gallery, asked, strength)
            for way, beta in named.items():
                yield way, (1 - beta) * carried + beta * overlap


def _cosines(gallery: Gallery, texts: NDArray[np.float32]) -> Floats:
    assert gallery.vectors is not None
    return texts.astype(np.float64) @ gallery.vectors.T


def _products(gallery: Gallery, asked: Asked) -> Floats:
    assert gallery.probabilities is not None
    scores = []
    for request in asked.requests:
        # Words that are no class for sure still count here: there is nothing else to ask.
        nearest = tuple(CLASSES[int(row.argmax())] for row in request.wanted)
        wanted = request.classes or nearest
        scores.append(log_probability(gallery.probabilities, wanted, request.excluded))
    return np.stack(scores)


def _concepts(gallery: Gallery, asked: Asked, beta: float) -> Floats:
    """Return the program's own score, the dial where it is told."""
    assert gallery.probabilities is not None
    assert gallery.vectors is not None
    described = np.concatenate([gallery.probabilities, gallery.vectors], axis=1)
    texts = asked.raw("mean")
    return np.stack(
        [
            ConceptQuery(request, text, gallery.scale).scores(described, beta)
            for request, text in zip(asked.requests, texts, strict=True)
        ]
    )


def _over_sets(gallery: Gallery, asked: Asked, strength: float) -> tuple[Floats, Floats]:
    """Return (q, n) log P(a patch carries the query) and log E(overlap), over label sets."""
    assert gallery.probabilities is not None
    beliefs = label_set_beliefs(gallery.probabilities, gallery.masks, strength)
    found = np.zeros((2, len(asked.requests), 2 ** len(CLASSES)), np.float32)
    for place, request in enumerate(asked.requests):
        for wanted, lacked, weight in _readings(request):
            for side, judged in enumerate(_judged(wanted, lacked)):
                found[side, place] += weight * judged
    carried, overlap = (np.log(np.maximum(beliefs @ f.T, _EPSILON**2)) for f in found)
    return carried.T.astype(np.float64), overlap.T.astype(np.float64)


def label_set_beliefs(
    probabilities: NDArray[np.floating], masks: NDArray[np.uint16], strength: float
) -> NDArray[np.float32]:
    """Return (n, 4096) how likely each label set is, given class probabilities and what co-occurs.

    With independent classes a set Y has the weight prod p^y (1-p)^(1-y). Training patches say how
    much more often than that the set occurs: its weight is multiplied by
    (P(Y) / prod pi^y (1-pi)^(1-y)) ^ strength, pi being the frequency of each class.

    Args:
        probabilities: (n, 12).
        masks: Labels of the training patches.
        strength: 0: independent classes; 1: Bayes' rule, where a patch's evidence on each class
            is independent of that on the others.
    """
    count = len(CLASSES)
    sets = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    present = (masks[:, None] >> np.arange(count)) & 1
    frequency = np.clip(present.mean(0), 1e-3, 1 - 1e-3)
    alone = _log_independent(frequency[None, :], sets)[0]
    seen = np.bincount(masks, minlength=2**count) / len(masks)
    prior = np.log((1 - _SMOOTHING) * seen + _SMOOTHING * np.exp(alone))
    values = np.clip(probabilities.astype(np.float64), _EPSILON, 1 - _EPSILON)
    weights = _log_independent(values, sets) + strength * (prior - alone)
    weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _log_independent(probabilities: Floats, sets: NDArray[np.integer]) -> Floats:
    odds = np.log(probabilities) - np.log1p(-probabilities)
    return odds @ sets.T + np.log1p(-probabilities).sum(axis=1, keepdims=True)


def _readings(request: Request) -> list[tuple[int, int, float]]:
    """Return what a request may mean: (mask wanted, mask lacked, weight); weights sum to 1."""
    rows = [(False, row) for row in request.wanted] + [(True, row) for row in request.absent]
    choices = [
        [(negated, k, w) for k, w in enumerate(row) if w >= _NEGLECTED] for negated, row in rows
    ]
    found = []
    for chosen in product(*choices):
        wanted = lacked = 0
        weight = 1.0
        for negated, place, share in chosen:
            wanted |= 0 if negated else 1 << place
            lacked |= 1 << place if negated else 0
            weight *= share
        found.append((wanted, lacked, weight))
    total = sum(weight for *_, weight in found)
    return [(wanted, lacked, weight / total) for wanted, lacked, weight in found]


def _judged(wanted: int, lacked: int) -> tuple[Floats, Floats]:
    """Return, per label set, whether it answers a reading, and its overlap with it."""
    sets = np.arange(2 ** len(CLASSES))
    clean = (sets & lacked) == 0
    holds = clean & ((sets & wanted) == wanted)
    union = np.maximum(np.bitwise_count(sets | wanted), 1)
    overlap = np.bitwise_count(sets & wanted) / union if wanted else np.ones(len(sets))
    return holds.astype(np.float64), clean * overlap
