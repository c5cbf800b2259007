"""Queries in words -> weights on the twelve concepts -> scores of patches from their probabilities.

A query is split into phrases; each phrase is compared, by mean-pooled sentence vectors, with a
prototype of every class (its name and the training synonyms, common mean removed). The score of a
patch is between that of carrying all phrases (beta = 0) and the expected overlap of the two label
sets (beta = 1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.text import TextEncoder
from landmark.errors import InputError
from landmark.synonyms import Synonyms, load_synonyms
from landmark.taxonomy import CLASSES

#: Softness of the weights over classes, and the dial between containment and overlap: chosen on
#: validation in a study on synthetic data (docs/training.md).
SOFTNESS = 0.03
BETA = 0.67

_EPSILON = 1e-6
#: Class names hold "and": they are taken out of the text before it is split there.
_NAMES = re.compile(
    r"\b(" + "|".join(re.escape(n) for n in sorted(CLASSES, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_BY_LOWER = {name.lower(): place for place, name in enumerate(CLASSES)}
_MARK = "\x00{}\x00"
_MARKED = re.compile(r"\x00(\d+)\x00")
_BREAKS = re.compile(
    r"[.,;/\n]+|\b(?:and|next to|beside|besides|alongside|as well as|together with)\b"
    r"|(?=\b(?:without|no|not)\b)",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"^(?:(?:a|an|the|this|some|show me|find|there is|there are)\s+)*"
    r"(?:(?:satellite|sentinel|radar|sar|optical|aerial)[\w-]*\s+)*"
    r"(?:(?:images?|scenes?|pictures?|photos?|patch(?:es)?|views?|areas?)\s+"
    r"(?:of|with|showing|that shows?|containing|covered by)\s+)"
    r"|^(?:with|of|showing|containing)\s+",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"^(?:without|no|not)\s+(?:any\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Phrase:
    """One part of a query.

    Attributes:
        text: Its words, or the class it names.
        absent: Whether the query negates it.
    """

    text: str
    absent: bool = False


@dataclass(frozen=True)
class Request:
    """A query as weights on the classes.

    Attributes:
        wanted: (j, 12) float64, a row per phrase; rows sum to 1.
        absent: (k, 12), likewise for negated phrases.
        understood: The likeliest class of each phrase, `not` before negated ones.
        nearness: Cosine of the least known phrase with its nearest class prototype; 1 for names.
    """

    wanted: NDArray[np.float64]
    absent: NDArray[np.float64]
    understood: tuple[str, ...]
    nearness: float


class Translator:
    """Translates queries; holds the class prototypes of one text encoder.

    Args:
        encoder: A sentence encoder with pooling `mean`.
        synonyms: Other words for the classes; None: those shipped.
    """

    def __init__(self, encoder: TextEncoder, synonyms: Synonyms | None = None) -> None:
        self._encoder = encoder
        known = (synonyms or load_synonyms()).train
        texts = [[name.lower(), *known[name]] for name in CLASSES]
        vectors = encoder.encode([text for own in texts for text in own]).astype(np.float64)
        self._centre = vectors.mean(axis=0)
        ends = np.cumsum([len(own) for own in texts])
        groups = np.split(self._centred(vectors), ends[:-1])
        self._prototypes = _unit(np.stack([group.mean(axis=0) for group in groups]))

    def translate(self, text: str) -> Request:
        """Return what a text asks for.

        Raises:
            InputError: No word is left once connecting words are taken away.
        """
        phrases = split_phrases(text)
        if not phrases:
            raise InputError(f"search text {text!r} names nothing to look for")
        rows, nearness = [], []
        for phrase in phrases:
            weights, near = self._weights(phrase.text)
            rows.append(weights)
            nearness.append(near)
        weights = np.stack(rows)
        negated = np.array([phrase.absent for phrase in phrases])
        understood = tuple(
            f"not {CLASSES[best]}" if absent else CLASSES[best]
            for best, absent in zip(weights.argmax(axis=1), negated, strict=True)
        )
        return Request(weights[~negated], weights[negated], understood, min(nearness))

    def _weights(self, phrase: str) -> tuple[NDArray[np.float64], float]:
        place = _BY_LOWER.get(phrase.lower())
        if place is not None:
            return np.eye(len(CLASSES))[place], 1.0
        vector = self._centred(self._encoder.encode([phrase]).astype(np.float64))[0]
        cosines = self._prototypes @ vector
        weights = np.exp((cosines - cosines.max()) / SOFTNESS)
        return weights / weights.sum(), float(cosines.max())

    def _centred(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return _unit(vectors - self._centre)


def split_phrases(text: str) -> tuple[Phrase, ...]:
    """Return the phrases of a query, lead-ins and connecting words taken away.

    Split is at `. , ; /`, "and", "next to" and the like, and before "without", "no", "not"; class
    names stay whole.
    """
    names: list[str] = []

    def mark(match: re.Match[str]) -> str:
        names.append(CLASSES[_BY_LOWER[match[1].lower()]])
        return _MARK.format(len(names) - 1)

    marked = _NAMES.sub(mark, text)
    phrases = []
    for part in _BREAKS.split(marked):
        words = part.strip()
        negated = _NEGATION.match(words)
        words = _NEGATION.sub("", words)
        words = _LEAD_IN.sub("", words).strip()
        words = _MARKED.sub(lambda match: names[int(match[1])], words)
        if re.search(r"\w", words):
            phrases.append(Phrase(words, negated is not None))
    return tuple(phrases)


def concept_scores(
    probabilities: NDArray[np.floating], request: Request, beta: float = BETA
) -> NDArray[np.float64]:
    """Return (n,) scores of patches; larger is better.

    With q_j the probability of phrase j and `rest` the expected number of classes beside those
    asked for: (1 - beta) * sum_j log q_j + beta * log(sum_j q_j / (count + rest)), plus the log of
    1 - q for every negated phrase.

    Args:
        probabilities: (n, 12) in taxonomy order.
        request: What is asked for.
        beta: 0: all phrases at once; 1: expected Jaccard overlap.
    """
    values = np.clip(probabilities.astype(np.float64), _EPSILON, 1 - _EPSILON)
    lacking = np.log1p(-(values @ request.absent.T)).sum(axis=1)
    if not len(request.wanted):
        return np.asarray(lacking)
    asked = values @ request.wanted.T
    beside = values @ (1 - np.minimum(1, request.wanted.sum(axis=0)))
    containment = np.log(asked).sum(axis=1)
    overlap = np.log(asked.sum(axis=1) / (len(request.wanted) + beside))
    return np.asarray((1 - beta) * containment + beta * overlap + lacking)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


#: Cosine with the nearest prototype below which a query's words are taken for free text; shipped
#: test synonyms of the classes reach 0.14 to 0.6, words for other things 0.04 to 0.3.
_FREE_TEXT = 0.2
#: Weight of the embedding's cosine for such queries (the study's mixture).
_MIXTURE = 0.3


@dataclass(frozen=True)
class ConceptQuery:
    """A query against patches described by class probabilities and vectors.

    Attributes:
        request: The query in classes.
        vector: (dim,) the query in the space of the vectors.
        scale: 1 / temperature of that space.
    """

    request: Request
    vector: NDArray[np.float32]
    scale: float

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n,) scores.

        Args:
            described: (n, 12 + dim): class probabilities, then unit vectors.
        """
        classes = len(CLASSES)
        scores = concept_scores(described[:, :classes], self.request)
        if self.request.nearness >= _FREE_TEXT:
            return scores
        cosines = described[:, classes:].astype(np.float64) @ self.vector
        return (1 - _MIXTURE) * scores + _MIXTURE * self.scale * cosines
