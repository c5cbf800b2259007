"""Other words for the classes: training texts, and the texts of paraphrase queries.

Data, not code: `manifests/synonyms.csv` with the columns `class,list,text`. The list is `train`
(a model may learn from them) or `test` (paraphrase queries). The two share no text, and no text
holds the name of a class, so that a paraphrase is answered by meaning and not by matching words.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from landmark.errors import InputError
from landmark.taxonomy import CLASSES

COLUMNS = ("class", "list", "text")
LISTS = ("train", "test")


@dataclass(frozen=True)
class Synonyms:
    """Other words for every class, in the order of the file.

    Attributes:
        train: Class -> texts a model may be trained on.
        test: Class -> texts of paraphrase queries; none is among the training texts.
    """

    train: Mapping[str, tuple[str, ...]]
    test: Mapping[str, tuple[str, ...]]


def load_synonyms(path: str | Path | None = None) -> Synonyms:
    """Read the synonyms: those shipped with the program, or a user's own CSV file.

    Raises:
        InputError: The file cannot be read, or a line of it is wrong.
    """
    if path is None:
        entry = resources.files("manifests") / "synonyms.csv"
        return parse_synonyms(entry.read_bytes(), "synonyms.csv")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as synonyms ({error.strerror})") from None
    return parse_synonyms(data, str(path))


def parse_synonyms(data: bytes, origin: str) -> Synonyms:
    """Validate the bytes of a synonyms file.

    Raises:
        InputError: A column, class, list or text is wrong, a text stands twice, or a class has
            no text in one of the lists; the message names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{origin}: is not UTF-8 text; save the synonyms as UTF-8 CSV") from None
    found: dict[str, dict[str, list[str]]] = {name: {c: [] for c in CLASSES} for name in LISTS}
    seen: dict[str, int] = {}
    for line, (label, which, words) in _rows(text, origin):
        if words in seen:
            raise InputError(f"{origin}:{line}: {words!r} stands in line {seen[words]} already")
        seen[words] = line
        found[which][label].append(words)
    for which, texts in found.items():
        for label, own in texts.items():
            if not own:
                raise InputError(f"{origin}: holds no {which} text for {label}")
    train, test = (
        MappingProxyType({label: tuple(texts) for label, texts in found[which].items()})
        for which in LISTS
    )
    return Synonyms(train, test)


def _rows(text: str, origin: str) -> Iterable[tuple[int, tuple[str, str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if tuple(next(reader, [])) != COLUMNS:
            raise InputError(f"{origin}:1: the columns must be {','.join(COLUMNS)}")
        for cells in reader:
            if cells:
                yield reader.line_num, _row(cells, f"{origin}:{reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{origin}:{reader.line_num}: is no CSV: {error}") from None


def _row(cells: list[str], where: str) -> tuple[str, str, str]:
    if len(cells) != len(COLUMNS):
        raise InputError(f"{where}: has {len(cells)} cells, not {len(COLUMNS)} (class,list,text)")
    label, which, words = (cell.strip() for cell in cells)
    if label not in CLASSES:
        raise InputError(f"{where}: unknown class {label!r}; there are {', '.join(CLASSES)}")
    if which not in LISTS:
        raise InputError(f"{where}: list is {which!r}, not train or test")
    if not words or words != words.lower():
        raise InputError(f"{where}: text {words!r} must be words in lower case")
    for name in CLASSES:
        if re.search(rf"\b{name.lower()}\b", words):
            raise InputError(
                f"{where}: {words!r} holds the class name {name!r}; a synonym says it differently"
            )
    return label, which, words
