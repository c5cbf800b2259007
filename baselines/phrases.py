"""The phrases of a query in words: what it asks for, what it excludes, and what only connects.

Rules of language, no model. A query falls apart at marks, "and", words of place ("next to",
"between", ...) and words of exclusion ("without", "no", ...). Names of classes and the training
synonyms are found first and stay whole, so that "Snow and Ice" is one thing and "snow and a lake"
are two. Words that may as well lie inside one thing ("in", "with", "after", ...) are only marked
here: whether a phrase falls apart there is decided by its meaning (`baselines.translation`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from baselines import query_words
from baselines.exclusions import Exclusion
from landmark.synonyms import load_synonyms
from landmark.taxonomy import CLASSES

#: Why words of a query do not count, as it is shown.
PLACE = "adjacency is not understood: all parts are searched for, wherever they lie in a patch"
FAR = "adjacency is not understood: read as `not in the patch`"
ASKING = "says that something is searched for, not what"
SENSOR = "no word chooses a sensor; --sensor does"
TIME = "no word chooses a date; --from and --to do"
CLOUDS = "clouds are no class; the manifest chooses how many a patch may have"
BESIDE = "words beside several class names do not count"

_MARK = re.compile(r"\x00(\d+)\x00")


@dataclass(frozen=True)
class Phrase:
    """One part of a query.

    Attributes:
        text: Its words, articles and the like taken away; a class's name in its own spelling.
        absent: Whether the query excludes it.
        known: The class of which it is the name or a training synonym; None: its meaning decides.
        either: Whether "or" joins it to the phrase before.
        pieces: What it may fall apart into, in order; itself alone where there is no such place.
        joints: The connectors between the pieces, with their spaces.
    """

    text: str
    absent: bool = False
    known: str | None = None
    either: bool = False
    pieces: tuple[Phrase, ...] = ()
    joints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ignored:
    """Words of a query that do not count.

    Attributes:
        words: As they were written.
        why: In one clause.
    """

    words: str
    why: str


@dataclass(frozen=True)
class Split:
    """A query taken apart."""

    phrases: tuple[Phrase, ...]
    ignored: tuple[Ignored, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Words that stay whole: names of classes, other spellings, training synonyms.

    Attributes:
        classes: Words in lower case, without an article -> class.
        names: Those of `classes` that are names, not synonyms.
    """

    classes: Mapping[str, str]
    names: frozenset[str]
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest = sorted(self.classes, key=len, reverse=True)
        pattern = "|".join(f"({query_words.plural(words)})" for words in longest)
        compiled = re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE)
        object.__setattr__(self, "_pattern", compiled)

    @classmethod
    def of(cls, synonyms: Mapping[str, Sequence[str]]) -> Vocabulary:
        """Return the names of the taxonomy and these synonyms (class -> texts)."""
        names = {name.lower(): name for name in CLASSES}
        for name, spellings in query_words.SPELLINGS.items():
            names |= dict.fromkeys(spellings, name)
        others = {bare(text.lower()): name for name, texts in synonyms.items() for text in texts}
        return cls(others | names, frozenset(names))

    def mark(self, text: str) -> tuple[str, list[Phrase]]:
        """Return the text with its known words as numbered marks, and what each stands for."""
        longest = sorted(self.classes, key=len, reverse=True)
        found: list[Phrase] = []

        def put(match: re.Match[str]) -> str:
            entry = longest[(match.lastindex or 1) - 1]
            name = self.classes[entry]
            found.append(Phrase(name if entry in self.names else match[0], known=name))
            return f"\x00{len(found) - 1}\x00"

        return self._pattern.sub(put, text), found


@lru_cache(maxsize=1)
def shipped_vocabulary() -> Vocabulary:
    """Return the names of the taxonomy and the training synonyms shipped with the program."""
    return Vocabulary.of(load_synonyms().train)


def bare(text: str) -> str:
    """Return a text without the articles and the like it begins with, unless nothing is left."""
    match = query_words.SMALL.match(text)
    return (text[match.end() :] if match else text).strip() or text


def split_phrases(text: str) -> tuple[Phrase, ...]:
    """Return the phrases of a query, lead-ins and connecting words taken away."""
    return split(text).phrases


def split(text: str, vocabulary: Vocabulary | None = None) -> Split:
    """Take a query apart.

    Args:
        text: Any text.
        vocabulary: Words that stay whole; None: those shipped.
    """
    ignored: list[Ignored] = []

    clean = re.sub(r"[^\S\n]+", " ", text.replace("\x00", " ").replace("’", "'"))
    for pattern, why in ((query_words.TIMES, TIME), (query_words.CLOUDS, CLOUDS)):
        ignored.extend(Ignored(match[0].strip(), why) for match in pattern.finditer(clean))
        clean = pattern.sub(" ", clean)
    clean = query_words.COVERED.sub(r"\1 with ", clean)
    for lacking in (query_words.LACKING, query_words.FREE_OF):
        clean = lacking.sub(r" without \1, ", clean)
    marked, known = (vocabulary or shipped_vocabulary()).mark(clean)
    phrases: list[Phrase] = []
    exclusion = Exclusion()
    for joint, words, part in _parts(marked):
        exclusion = exclusion.after(joint, words)
        absent = exclusion.absent
        if joint in ("place", "far"):
            ignored.append(Ignored(exclusion.place, FAR if absent else PLACE))
        if part.strip() and not query_words.SMALL.fullmatch(part.strip()):
            exclusion = exclusion.met()
        found = [replace(phrase, absent=absent) for phrase in _phrases(part, known, ignored)]
        if found and phrases and joint == "either" and not absent:
            found[0] = replace(found[0], either=True)
        phrases.extend(found)
    return Split(tuple(phrases), tuple(ignored))


def _parts(marked: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield (kind of connector before it, that connector, part) over a text."""
    kind, words, start = None, "", 0
    for match in query_words.CONNECTORS.finditer(marked):
        yield kind, words, marked[start : match.start()]
        kind, words, start = match.lastgroup, match[0], match.end()
    yield kind, words, marked[start:]


def _phrases(part: str, known: Sequence[Phrase], ignored: list[Ignored]) -> list[Phrase]:
    """Return the phrases of one part: none, one, or one per class name written side by side."""
    words = " ".join(_trimmed(part, ignored).split())
    pieces, joints = [], []
    start = 0
    for match in query_words.LOOSE.finditer(words):
        pieces.append(words[start : match.start()])
        joints.append(match[0])
        start = match.end()
    pieces.append(words[start:])
    whole = [_phrase(piece, known, ignored) for piece in pieces]
    if any(len(phrases) != 1 for phrases in whole):
        return [phrase for phrases in whole for phrase in phrases]
    single = tuple(phrases[0] for phrases in whole)
    if len(single) == 1:
        return [replace(single[0], pieces=single)]
    return [Phrase(_words(words, known), pieces=single, joints=tuple(joints))]


def _phrase(piece: str, known: Sequence[Phrase], ignored: list[Ignored]) -> list[Phrase]:
    piece = bare(piece)
    marks = [known[int(match[1])] for match in _MARK.finditer(piece)]
    rest = _MARK.sub(" ", piece).split()
    if len(marks) > 1 or (marks and not rest):
        if rest:
            ignored.append(Ignored(" ".join(rest), BESIDE))
        return marks
    text = _words(piece, known).strip()
    return [Phrase(text)] if re.search(r"\w", text) else []


def _trimmed(part: str, ignored: list[Ignored]) -> str:
    """Return a part without the words that ask for it, which are noted if they have weight."""
    part = part.strip()
    asked = []
    lead = query_words.LEAD_IN.match(part)
    if lead is not None:
        asked.append(lead[0].strip())
        part = part[lead.end() :]
    out = query_words.LEAD_OUT.search(part)
    if out is not None:
        asked.append(out[0].strip())
        part = part[: out.start()]
    for phrase in asked:
        words = query_words.ENDS_SMALL.sub("", phrase)
        if words:
            why = SENSOR if query_words.NAMES_SENSOR.search(words) else ASKING
            ignored.append(Ignored(words, why))
    return part


def _words(text: str, known: Sequence[Phrase]) -> str:
    return _MARK.sub(lambda match: known[int(match[1])].text, text)
