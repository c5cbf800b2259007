"""Texts for the classes of chips: what zero-shot classification asks a run for.

Data, not code: a CSV file with the columns `class,text`, a line a text; several texts of a class
are averaged. `manifests/chip_texts.csv` covers EuroSAT; a class without a line is asked for by its
folder's name in words.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from landmark.errors import InputError

COLUMNS = ["class", "text"]


def chip_texts(classes: Iterable[str], path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return class -> its texts, in the order of the classes.

    Args:
        classes: Names of the class folders.
        path: A user's own file; None: the one shipped.

    Raises:
        InputError: The file cannot be read, a line is wrong, or it names none of the classes.
    """
    if path is None:
        data, origin = (resources.files("manifests") / "chip_texts.csv").read_bytes(), "chip_texts"
    else:
        origin = str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read as texts ({error.strerror})") from None
    given = _parse(data, origin)
    names = list(classes)
    if path is not None and not given.keys() & set(names):
        raise InputError(f"{origin}: names none of the classes {', '.join(names)}")
    return {name: tuple(given.get(name) or (in_words(name),)) for name in names}


def in_words(name: str) -> str:
    """Return a folder's name in words: `HerbaceousVegetation` -> `herbaceous vegetation`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", spaced).strip().lower()


def _parse(data: bytes, origin: str) -> dict[str, list[str]]:
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{origin}: is no UTF-8 CSV: {error}") from None
    if not rows or rows[0][1] != COLUMNS:
        raise InputError(f"{origin}, line 1: the columns must be {','.join(COLUMNS)}")
    found: dict[str, list[str]] = {}
    for line, row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if len(cells) != len(COLUMNS) or not all(cells):
            raise InputError(f"{origin}, line {line}: must hold a class and a text")
        found.setdefault(cells[0], []).append(cells[1])
    return found
