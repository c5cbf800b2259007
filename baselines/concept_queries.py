"""Queries in words as runs of any kind are asked them: one `Question` per text.

Translated to classes (`baselines.translation`), a query is asked in the way each kind knows best:
a run of kind `concepts` or `classes` by its class probabilities, a run of kind `embedding` by a
text made of class names, as its captions are. Untranslated, the text goes to an embedding as it
stands, and a run of kind `classes` understands names of classes only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun
from baselines.concepts import BETA, ConceptQuery, concept_scores
from baselines.rankers import log_probability
from baselines.recipes import DEFAULT_TEXT
from baselines.text import TextEncoder, open_text_encoder
from baselines.translation import NothingAskedError, Request, Translator
from landmark.errors import InputError, LandmarkError
from landmark.taxonomy import CLASSES

#: Weight of the excluded classes' vector against that of the text asked for, where a run has no
#: class probabilities (chosen on val; docs/search.md).
AWAY = 1.0

#: Class names, longest first, so that no name is found inside a longer one.
_ANY_NAME = "|".join(re.escape(name) for name in sorted(CLASSES, key=len, reverse=True))
_NAMES = re.compile(rf"\b(?P<negated>(?:no|not|without)\s+)?(?P<name>{_ANY_NAME})\b", re.IGNORECASE)
_BY_LOWER = {name.lower(): name for name in CLASSES}


class Question(Protocol):
    """A query as one run is asked it."""

    @property
    def request(self) -> Request | None:
        """The query in classes; None: it was not translated."""

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n,) scores of (n, d) descriptions of patches; larger is better."""


@dataclass(frozen=True)
class VectorQuestion:
    """A query as a vector: patches are ranked by its product with theirs.

    Attributes:
        vector: (dim,) float32; of unit length unless something is excluded.
        request: The query in classes, if it was translated.
    """

    vector: NDArray[np.float32]
    request: Request | None = None

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n,) products."""
        return described @ self.vector


@dataclass(frozen=True)
class ClassQuestion:
    """A query as weights on class probabilities.

    Attributes:
        request: The query in classes.
        beta: The dial of `concept_scores`.
    """

    request: Request
    beta: float = BETA

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n,) scores between containment and expected overlap."""
        return concept_scores(described[:, : len(CLASSES)], self.request, self.beta)


@dataclass(frozen=True)
class ConceptQuestion:
    """A query as weights on class probabilities, and as a vector for what no class says.

    Attributes:
        asked: The query.
        beta: The dial of `concept_scores`.
    """

    asked: ConceptQuery
    beta: float = BETA

    @property
    def request(self) -> Request:
        """The query in classes."""
        return self.asked.request

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n,) scores."""
        return self.asked.scores(described, self.beta)


@dataclass(frozen=True)
class NameQuestion:
    """A query as the names of classes found in it.

    Attributes:
        classes: Classes carried.
        absent: Classes lacked.
    """

    classes: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def request(self) -> None:
        """Nothing: the query was not translated."""

    def scores(self, described: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n,) log probabilities that a patch carries some and lacks the others."""
        return log_probability(described, self.classes, self.absent)


def questions(
    loaded: LoadedRun,
    texts: Sequence[str],
    *,
    understand: bool = True,
    beta: float = BETA,
    encoder: TextEncoder | None = None,
) -> list[Question]:
    """Return what a run is asked for each text.

    Args:
        loaded: The run.
        texts: Queries in words.
        understand: Translate them to classes.
        beta: The dial between containment and overlap, for runs with class probabilities.
        encoder: Translates words; None: the run's own sentence encoder where it can, else
            the default one, opened when a word is no known one.

    Raises:
        InputError: A text names nothing, or nothing this run can be asked for.
        LandmarkError: The run has no text encoder.
    """
    if loaded.kind == "concepts":
        if not understand:
            raise InputError(
                f"run {loaded.name!r} (recipe {loaded.config.recipe_name}) is asked in classes: "
                "leave --no-understand out, or use a run of recipe clip"
            )
        return [ConceptQuestion(asked, beta) for asked in concept_queries(loaded, texts)]
    if not understand:
        if loaded.kind == "classes":
            return [_names_asked(loaded, text) for text in texts]
        return [VectorQuestion(vector) for vector in loaded.model.encode_texts(list(texts))]
    translator = _translator(loaded, encoder)
    requests = [translator.translate(text) for text in texts]
    if loaded.kind == "classes":
        return [ClassQuestion(_classes_only(loaded, r), beta) for r in requests]
    return [VectorQuestion(_vector(loaded, r), r) for r in requests]


def concept_queries(loaded: LoadedRun, texts: Sequence[str]) -> list[ConceptQuery]:
    """Return each text in classes and as a vector, for a run of kind `concepts`.

    Raises:
        InputError: A text names nothing.
        LandmarkError: The run has no text encoder.
    """
    if loaded.text_encoder is None:
        raise LandmarkError(f"run {loaded.name!r} has no text encoder to translate queries with")
    translator = _translator(loaded, None)
    with torch.no_grad():
        scale = float(loaded.model.scale())
    vectors = loaded.model.encode_texts(list(texts))
    requests = [translator.translate(text) for text in texts]
    return [ConceptQuery(r, v, scale) for r, v in zip(requests, vectors, strict=True)]


def searched_vectors(
    loaded: LoadedRun, texts: Sequence[str], encoder: TextEncoder | None = None
) -> list[NDArray[np.float32]]:
    """Return the (dim,) vector that a search asks a run of vectors for each text.

    A text that names nothing to look for, which `search` refuses, is asked as it stands.

    Args:
        loaded: A run of kind `embedding`.
        texts: Queries in words.
        encoder: As for `questions`.

    Raises:
        InputError: The encoder that words are translated with is not here.
    """
    translator = _translator(loaded, encoder)
    found = []
    for text in texts:
        try:
            found.append(_vector(loaded, translator.translate(text)))
        except NothingAskedError:
            found.append(loaded.model.encode_texts([text])[0])
    return found


def caption_of(request: Request) -> str:
    """Return what a query asks for as a caption would say it: class names, then other words."""
    return ". ".join([*(name.lower() for name in request.classes), *request.free])


def class_names(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes a text names and those it negates (`no`, `not` or `without` before).

    Only names of the taxonomy count, in any case; both results are in taxonomy order. A class
    that is named both ways counts as wanted.
    """
    named: set[str] = set()
    negated: set[str] = set()
    for match in _NAMES.finditer(text):
        name = _BY_LOWER[match["name"].lower()]
        (negated if match["negated"] else named).add(name)
    return (
        tuple(name for name in CLASSES if name in named),
        tuple(name for name in CLASSES if name in negated - named),
    )


def _translator(loaded: LoadedRun, encoder: TextEncoder | None) -> Translator:
    if encoder is not None:
        return Translator(encoder)
    own = loaded.text_encoder
    # Prototypes are means of token means; a tower read by its first token gives poor sentences.
    if own is not None and own.config.pooling == "mean":
        return Translator(own)
    return Translator(lambda: open_text_encoder(DEFAULT_TEXT))


def _names_asked(loaded: LoadedRun, text: str) -> NameQuestion:
    classes, absent = class_names(text)
    if not classes and not absent:
        raise InputError(
            f"run {loaded.name!r} finds classes, not free text, and {text!r} names none; use one "
            f"of {', '.join(CLASSES)}, leave --no-understand out, or use a run of recipe clip"
        )
    return NameQuestion(classes, absent)


def _classes_only(loaded: LoadedRun, request: Request) -> Request:
    if not request.understood:
        raise InputError(
            f"run {loaded.name!r} finds classes, not free text, and {request.free[0]!r} is near "
            f"none of {', '.join(CLASSES)}; use a run of recipe clip or concepts"
        )
    return request


def _vector(loaded: LoadedRun, request: Request) -> NDArray[np.float32]:
    """Return the text asked for as a vector, less the mean of the classes excluded."""
    wanted = caption_of(request)
    away = [name.lower() for name in request.excluded]
    vectors = loaded.model.encode_texts([*([wanted] if wanted else []), *away])
    if not away:
        return vectors[0]
    excluded = AWAY * vectors[-len(away) :].mean(axis=0)
    return np.asarray(vectors[0] - excluded if wanted else -excluded, dtype=np.float32)
