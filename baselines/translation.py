"""Queries in words -> weights on the twelve classes, by the meaning of their phrases.

A name of a class, or a training synonym, stands for its class. Any other phrase is compared, by
mean-pooled sentence vectors, with a prototype of every class: the mean of its name and training
synonyms, all put into one sentence and with the common mean removed. A phrase that lies far from
all classes is free text: no class, and a run with an embedding asks that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from baselines.phrases import Ignored, Phrase, Vocabulary, bare, shipped_vocabulary, split
from baselines.text import TextEncoder
from landmark.errors import InputError
from landmark.synonyms import Synonyms, load_synonyms
from landmark.taxonomy import CLASSES

#: How a phrase is put to the sentence encoder, and softness of the weights over classes. Cosines
#: with the nearest class from which a phrase is taken for it, and below which it is free text; in
#: between its class is a guess. Chosen by leaving each training synonym out of its prototype in
#: turn, against words for other things (docs/search.md has the figures).
SENTENCE = "a satellite image of {}"
SOFTNESS = 0.05
SURE = 0.52
FREE_TEXT = 0.44
#: How much less clear than the whole the least clear part may be (chosen on 37 made phrases).
_APART = 0.08
#: A phrase is tried in parts at no more loose connectors than this: each doubles the ways.
_MOST_JOINTS = 4

#: Why words do not count, as it is shown.
BOTH = "asked for and excluded at once: it counts as asked for"
NO_CLASS = "no class: only classes can be excluded"

_PLACES = {name: place for place, name in enumerate(CLASSES)}

How = Literal["name", "synonym", "meaning", "guess", "free"]


@dataclass(frozen=True)
class Reading:
    """How one phrase was understood.

    Attributes:
        words: The phrase.
        classes: The class it stands for; several where "or" joins phrases; none for free text.
        absent: Whether the query excludes it.
        how: By `name`, training `synonym` or `meaning`; `guess`: near no class, but nearer to that
            one than to others, which counts only if nothing else is asked for; `free`: as no class.
        nearness: Cosine with the nearest class; 1 for names and synonyms.
    """

    words: str
    classes: tuple[str, ...]
    absent: bool
    how: How
    nearness: float

    @property
    def sure(self) -> bool:
        """Whether it counts beside other phrases."""
        return self.how in ("name", "synonym", "meaning")

    def __str__(self) -> str:
        """Return its classes as they are shown, `not` before excluded ones."""
        return ("not " if self.absent else "") + " or ".join(self.classes)


class NothingAskedError(InputError):
    """A text names nothing to look for."""


#: A reading with its (12,) weights.
_Row = tuple[Reading, NDArray[np.float64]]


@dataclass(frozen=True)
class Request:
    """A query as weights on the classes.

    Attributes:
        wanted: (j, 12) float64, a row per thing asked for; rows sum to 1.
        absent: (k, 12), likewise for things excluded.
        understood: The class of each phrase, `not` before excluded ones.
        nearness: Cosine of the least known phrase with its nearest class; 1 for names.
        readings: How each phrase was understood.
        ignored: Words that do not count.
    """

    wanted: NDArray[np.float64]
    absent: NDArray[np.float64]
    understood: tuple[str, ...]
    nearness: float
    readings: tuple[Reading, ...] = ()
    ignored: tuple[Ignored, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes asked for, in taxonomy order."""
        return self._named(absent=False)

    @property
    def excluded(self) -> tuple[str, ...]:
        """The classes excluded, in taxonomy order."""
        return self._named(absent=True)

    @property
    def free(self) -> tuple[str, ...]:
        """The phrases that are asked for and do not surely stand for a class."""
        return tuple(r.words for r in self.readings if not r.sure and not r.absent)

    def _named(self, *, absent: bool) -> tuple[str, ...]:
        found = {name for r in self.readings if r.absent == absent for name in r.classes}
        return tuple(name for name in CLASSES if name in found)


@dataclass(frozen=True)
class _Meaning:
    """A phrase with its (12,) weights.

    Attributes:
        cosine: With the nearest class about the common mean: how clear the class is.
        nearness: With the nearest class about the origin: whether it is one at all.
    """

    phrase: Phrase
    weights: NDArray[np.float64]
    cosine: float
    nearness: float
    how: How

    @property
    def sure(self) -> bool:
        return self.nearness >= SURE

    @property
    def name(self) -> str:
        return CLASSES[int(self.weights.argmax())]


class Translator:
    """Translates queries; holds the class prototypes of one text encoder.

    The encoder is asked only for phrases that are no known words.

    Args:
        encoder: A sentence encoder with pooling `mean`, or what opens one when it is needed.
        synonyms: Other words for the classes; None: those shipped.
        softness: Of the weights over classes.
    """

    def __init__(
        self,
        encoder: TextEncoder | Callable[[], TextEncoder],
        synonyms: Synonyms | None = None,
        softness: float = SOFTNESS,
    ) -> None:
        self._given = encoder
        self._softness = softness
        self._synonyms = (synonyms or load_synonyms()).train
        self._vocabulary = (
            shipped_vocabulary() if synonyms is None else Vocabulary.of(synonyms.train)
        )

    def translate(self, text: str) -> Request:
        """Return what a text asks for.

        Raises:
            InputError: No word is left once connecting words are taken away.
        """
        parts = split(text, self._vocabulary)
        meanings = [meaning for phrase in parts.phrases for meaning in self._meanings(phrase)]
        return _request(text, meanings, parts.ignored)

    def _meanings(self, phrase: Phrase) -> list[_Meaning]:
        """Return a phrase as the one thing or the several things that it means most clearly."""
        runs = tuple(_runs(phrase))
        return [meaning for run in runs for meaning in self._clearest(run)]

    def _clearest(self, phrase: Phrase) -> list[_Meaning]:
        """Return the whole, or its parts where these are other classes and nearer to them.

        A whole that is free text gives way to parts of which one is a class.
        """
        whole = [self._meaning(phrase)]
        if not phrase.joints or len(phrase.joints) > _MOST_JOINTS:
            return whole
        ways = [[self._meaning(part) for part in parts] for parts in _ways(phrase)]
        apart = [way for way in ways if _apart(way) and _clarity(way) > _clarity(whole)]
        if not apart and not whole[0].sure:
            apart = [way for way in ways if any(part.sure for part in way)]
        return max(apart, key=_clarity, default=whole)

    def _meaning(self, phrase: Phrase) -> _Meaning:
        if phrase.known is not None:
            weights = np.eye(len(CLASSES))[_PLACES[phrase.known]]
            how: How = "name" if phrase.text == phrase.known else "synonym"
            return _Meaning(phrase, weights, 1.0, 1.0, how)
        framed, plain = self._vectors([phrase.text])
        cosines = self._prototypes.centred @ _unit(framed - self._prototypes.centre)[0]
        weights = np.exp((cosines - cosines.max()) / self._softness)
        nearness = float((self._prototypes.plain @ _unit(framed + plain)[0]).max())
        how = "meaning" if nearness >= SURE else "guess" if nearness >= FREE_TEXT else "free"
        return _Meaning(phrase, weights / weights.sum(), float(cosines.max()), nearness, how)

    @cached_property
    def _encoder(self) -> TextEncoder:
        return self._given() if callable(self._given) else self._given

    @cached_property
    def _prototypes(self) -> _Prototypes:
        texts = [[name.lower(), *self._synonyms[name]] for name in CLASSES]
        framed, plain = self._vectors([text for own in texts for text in own])
        ends = np.cumsum([len(own) for own in texts])[:-1]
        centre = framed.mean(axis=0)
        return _Prototypes(
            centre,
            _means(_unit(framed - centre), ends),
            _means(_unit(framed + plain), ends),
        )

    def _vectors(self, texts: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (n, width) vectors of texts put into the sentence, and of the texts alone."""
        texts = [bare(text) for text in texts]
        both = self._encoder.encode([*(SENTENCE.format(text) for text in texts), *texts])
        framed, plain = np.split(both.astype(np.float64), 2)
        return framed, plain


@dataclass(frozen=True)
class _Prototypes:
    """What phrases are compared with.

    Attributes:
        centre: (width,) mean of all known words in their sentence.
        centred: (12, width) unit vectors about that centre: they tell the classes apart.
        plain: (12, width) unit vectors about the origin: they tell land cover from other things.
    """

    centre: NDArray[np.float64]
    centred: NDArray[np.float64]
    plain: NDArray[np.float64]


def _means(vectors: NDArray[np.float64], ends: NDArray[np.intp]) -> NDArray[np.float64]:
    return _unit(np.stack([group.mean(axis=0) for group in np.split(vectors, ends)]))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _runs(phrase: Phrase) -> Iterator[Phrase]:
    """Yield the known words of a phrase each by itself, and what lies between them."""
    if not phrase.joints:
        yield phrase
        return
    start = 0
    for place, piece in enumerate(phrase.pieces):
        if piece.known is not None:
            if start < place:
                yield _slice(phrase, start, place)
            yield _slice(phrase, place, place + 1)
            start = place + 1
    if start < len(phrase.pieces):
        yield _slice(phrase, start, len(phrase.pieces))


def _ways(phrase: Phrase) -> Iterator[tuple[Phrase, ...]]:
    """Yield every way to cut a phrase at one or more of its loose connectors."""
    count = len(phrase.pieces)
    for number in range(1, count):
        for cuts in combinations(range(1, count), number):
            ends = (0, *cuts, count)
            yield tuple(_slice(phrase, a, b) for a, b in pairwise(ends))


def _slice(phrase: Phrase, start: int, stop: int) -> Phrase:
    pieces, joints = phrase.pieces[start:stop], phrase.joints[start : stop - 1]
    either = phrase.either and start == 0
    if len(pieces) == 1:
        return replace(pieces[0], absent=phrase.absent, either=either, pieces=pieces, joints=())
    text = pieces[0].text + "".join(j + p.text for j, p in zip(joints, pieces[1:], strict=True))
    return replace(phrase, text=text, either=either, pieces=pieces, joints=joints)


def _apart(parts: Sequence[_Meaning]) -> bool:
    """Return whether every part is surely a class, and no two that follow each other the same."""
    names = [part.name for part in parts]
    return all(part.sure for part in parts) and all(a != b for a, b in pairwise(names))


def _clarity(parts: Sequence[_Meaning]) -> float:
    return min(part.cosine for part in parts) + (_APART if len(parts) > 1 else 0)


def _request(text: str, meanings: Sequence[_Meaning], ignored: tuple[Ignored, ...]) -> Request:
    """Put together what phrases mean.

    A class asked for in several phrases counts once, one both asked for and excluded as asked
    for, unless it was a guess. Guesses have a row of weights only where nothing surer is asked for,
    free text only where there is nothing else at all, and neither excludes anything: one class too
    many spoils a query in which all have to be there.
    """
    shut = _joined([meaning for meaning in meanings if meaning.phrase.absent])
    asked = _joined([meaning for meaning in meanings if not meaning.phrase.absent])
    asked = [(_settled(reading, asked, shut), row) for reading, row in asked]
    named = {name for reading, _ in asked for name in reading.classes}
    left, excluded = list(ignored), []
    for reading, row in shut:
        if named & set(reading.classes):
            left.append(Ignored(f"not {reading.words}", BOTH))
        elif not reading.sure:
            left.append(Ignored(f"not {reading.words}", NO_CLASS))
        else:
            excluded.append((reading, row))
    if not asked and not excluded:
        reasons = "; ".join(dict.fromkeys(f"{words.words}: {words.why}" for words in left))
        why = f" ({reasons})" if reasons else ""
        raise NothingAskedError(f"search text {text!r} names nothing to look for{why}")
    rows = [row for reading, row in asked if reading.classes]
    if not rows and not excluded:
        rows = [row for _, row in asked]
    readings = (*(reading for reading, _ in asked), *(reading for reading, _ in excluded))
    return Request(
        wanted=np.array(rows).reshape(-1, len(CLASSES)),
        absent=np.array([row for _, row in excluded]).reshape(-1, len(CLASSES)),
        understood=tuple(str(reading) for reading in readings if reading.classes),
        nearness=min((reading.nearness for reading, _ in asked), default=1.0),
        readings=readings,
        ignored=tuple(left),
    )


def _settled(reading: Reading, asked: Sequence[_Row], shut: Sequence[_Row]) -> Reading:
    """Return a reading asked for; a guess without its class where something sure outdoes it."""
    beside = any(other.sure for other, _ in asked)
    excluded = {name for other, _ in shut if other.sure for name in other.classes}
    if not reading.sure and (beside or excluded & set(reading.classes)):
        return replace(reading, classes=())
    return reading


def _joined(meanings: Sequence[_Meaning]) -> list[_Row]:
    """Return readings with their rows; "or" makes one of several, equal classes count once.

    Of equal classes the first is kept, but no guess where one is sure.
    """
    groups = _groups(meanings)
    readings = [_reading(group) for group in groups]
    sure = {reading.classes for reading in readings if reading.sure}
    found: list[_Row] = []
    for reading, group in zip(readings, groups, strict=True):
        taken = {other.classes for other, _ in found} | (set() if reading.sure else sure)
        if not reading.classes or reading.classes not in taken:
            found.append((reading, np.mean([meaning.weights for meaning in group], axis=0)))
    return found


def _groups(meanings: Sequence[_Meaning]) -> list[list[_Meaning]]:
    groups: list[list[_Meaning]] = []
    for meaning in meanings:
        if groups and meaning.phrase.either and meaning.sure and groups[-1][0].sure:
            groups[-1].append(meaning)
        else:
            groups.append([meaning])
    return groups


def _reading(group: Sequence[_Meaning]) -> Reading:
    least = min(group, key=lambda meaning: meaning.nearness)
    names = dict.fromkeys(meaning.name for meaning in group if meaning.how != "free")
    return Reading(
        words=" or ".join(meaning.phrase.text for meaning in group),
        classes=tuple(names),
        absent=least.phrase.absent,
        how=least.how,
        nearness=least.nearness,
    )
