"""Crosswalks: which taxonomy classes a source's codes stand for, as CSV with weights.

A crosswalk has the columns `source,code,name,class,weight,note`. A code may have several rows;
its weights say which share of its pixels counts to which class, and sum to at most 1. A row
without class says that the code is mapped ground that counts to none.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landmark.digits import whole_number
from landmark.errors import InputError
from landmark.taxonomy import CLASSES, mask_of

COLUMNS = ("source", "code", "name", "class", "weight", "note")
#: Weights are decimal fractions: what their float sums miss of 1 is below this.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CrosswalkRow:
    """One line of a crosswalk.

    Attributes:
        code: Code of the source.
        name: The code's name in the source's nomenclature.
        label: Class of the taxonomy, or None: counts to no class.
        weight: Share of the code's pixels that counts to the class, 0..1.
        note: Why.
        line: Line of the file, from 1.
    """

    code: int
    name: str
    label: str | None
    weight: float
    note: str
    line: int


@dataclass(frozen=True)
class Crosswalk:
    """A validated crosswalk.

    Attributes:
        name: Built-in name, or the stem of the file.
        sha256: Of the file's bytes, hex.
        source: What its codes belong to: `corine`, `dynamic-world`, ...
        rows: In the order of the file.
    """

    name: str
    sha256: str
    source: str
    rows: tuple[CrosswalkRow, ...]

    def codes(self) -> tuple[int, ...]:
        """Return all codes, ascending."""
        return tuple(sorted({row.code for row in self.rows}))

    def rows_of(self, code: int) -> tuple[CrosswalkRow, ...]:
        """Return the rows of one code."""
        return tuple(row for row in self.rows if row.code == code)

    def name_of(self, code: int) -> str:
        """Return a code's name, or "" for a code the crosswalk does not hold."""
        return next((row.name for row in self.rows if row.code == code), "")

    @property
    def mask(self) -> int:
        """Mask of the classes its rows name: what a source read by it can decide."""
        return mask_of({row.label for row in self.rows if row.label is not None})

    def code_of(self, name: str) -> int | None:
        """Return the code a name (or the code itself, as text) stands for, or None.

        Case, punctuation and plural do not matter: BigEarthNet, CORINE's legend and Earth Engine
        spell the same classes differently.
        """
        text = name.strip()
        if (code := whole_number(text)) is not None:
            return code if code in self.codes() else None
        wanted = _plain(text)
        return next((row.code for row in self.rows if _plain(row.name) == wanted), None)

    def matrix(self, codes: Iterable[int] | None = None) -> NDArray[np.float64]:
        """Return (codes, 12) weights; rows in the order of `codes` (default `codes()`)."""
        wanted = list(self.codes() if codes is None else codes)
        place = {int(code): index for index, code in enumerate(wanted)}
        matrix = np.zeros((len(wanted), len(CLASSES)))
        for row in self.rows:
            if row.label is not None and row.code in place:
                matrix[place[row.code], CLASSES.index(row.label)] += row.weight
        return matrix


def builtin_names() -> tuple[str, ...]:
    """Return the names of the crosswalks that come with the program."""
    folder = resources.files("manifests") / "crosswalks"
    return tuple(
        sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".csv"))
    )


def load_crosswalk(
    name_or_path: str, source: str | None = None, codes: Iterable[int] | None = None
) -> Crosswalk:
    """Read a crosswalk by built-in name, or from a CSV file.

    Args:
        name_or_path: A path if it has a suffix or a slash, else a built-in name.
        source: Whose codes it must map, such as `corine`; None: whatever one source it names.
        codes: Every code it must hold; None: those it holds.

    Raises:
        InputError: There is no such crosswalk, or a line of it is wrong.
    """
    if Path(name_or_path).suffix or "/" in name_or_path:
        path = Path(name_or_path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read as a crosswalk ({error.strerror})") from None
        return parse_crosswalk(data, str(path), path.stem, source, codes)
    if name_or_path not in builtin_names():
        raise InputError(
            f"crosswalk {name_or_path!r}: no such built-in crosswalk; there are "
            f"{', '.join(builtin_names())}, or give a CSV file"
        )
    entry = resources.files("manifests") / "crosswalks" / f"{name_or_path}.csv"
    return parse_crosswalk(
        entry.read_bytes(), f"crosswalk {name_or_path}", name_or_path, source, codes
    )


def parse_crosswalk(
    data: bytes,
    origin: str,
    name: str,
    source: str | None = None,
    codes: Iterable[int] | None = None,
) -> Crosswalk:
    """Validate a crosswalk's bytes.

    Raises:
        InputError: A column, code, class or weight is wrong; the message names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{origin}: is not UTF-8 text; save the crosswalk as UTF-8 CSV") from None
    rows = tuple(_rows(text, origin, source))
    if not rows:
        raise InputError(f"{origin}: holds no row; every code of the source needs one")
    wanted = {row.code for row in rows} if codes is None else set(codes)
    for row in rows:
        if row.code not in wanted:
            raise InputError(f"{origin}:{row.line}: code {row.code} is no code of {source}")
    missing = sorted(wanted - {row.code for row in rows})
    if missing:
        raise InputError(
            f"{origin}: holds no row for {source} code {', '.join(map(str, missing))}; every code "
            "needs one (leave class empty for a code that counts to none)"
        )
    _check_sums(rows, origin)
    return Crosswalk(name, hashlib.sha256(data).hexdigest(), source or _source_of(text), rows)


def _source_of(text: str) -> str:
    """Return the source the first row names; the others name the same."""
    reader = csv.reader(io.StringIO(text, newline=""))
    next(reader)
    return next(cells[0].strip() for cells in reader if cells)


def _plain(name: str) -> str:
    """Return a name without case, punctuation, blanks and plural: `Peat bogs` is `Peatbogs`."""
    return "".join(word.rstrip("s") for word in re.findall(r"[a-z0-9]+", name.lower()))


def _rows(text: str, origin: str, source: str | None) -> Iterable[CrosswalkRow]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise InputError(f"{origin}:1: the columns must be {','.join(COLUMNS)}")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _row(cells, f"{origin}:{line}", line, source)
                source = source or cells[0].strip()
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{origin}:{reader.line_num}: is no CSV: {error}") from None


def _row(cells: list[str], where: str, line: int, source: str | None) -> CrosswalkRow:
    if len(cells) != len(COLUMNS):
        raise InputError(
            f"{where}: has {len(cells)} cells, not {len(COLUMNS)} ({','.join(COLUMNS)})"
        )
    own, code, name, label, weight, note = (cell.strip() for cell in cells)
    if not own:
        raise InputError(f"{where}: names no source")
    if source is not None and own != source:
        raise InputError(f"{where}: source is {own!r}, but the labels are {source!r}")
    number = whole_number(code)
    if number is None or number >= 10**9:
        raise InputError(f"{where}: code {code!r} is no whole number")
    if label and label not in CLASSES:
        raise InputError(f"{where}: unknown class {label!r}; there are {', '.join(CLASSES)}")
    return CrosswalkRow(number, name, label or None, _weight(weight, label, where), note, line)


def _weight(text: str, label: str, where: str) -> float:
    if not label:
        if text not in ("", "0"):
            raise InputError(f"{where}: weight {text!r} without a class; leave both empty")
        return 0.0
    try:
        weight = float(text)
    except ValueError:
        raise InputError(f"{where}: weight {text!r} is no number") from None
    if not 0 < weight <= 1:
        raise InputError(f"{where}: weight {text} is not above 0 and at most 1")
    return weight


def _check_sums(rows: tuple[CrosswalkRow, ...], origin: str) -> None:
    sums: dict[int, float] = {}
    pairs: set[tuple[int, str | None]] = set()
    for row in rows:
        if (row.code, row.label) in pairs:
            raise InputError(f"{origin}:{row.line}: code {row.code} has {row.label!r} twice")
        if (row.label is None and row.code in sums) or (row.code, None) in pairs:
            raise InputError(
                f"{origin}:{row.line}: code {row.code} has rows with and without class"
            )
        pairs.add((row.code, row.label))
        sums[row.code] = sums.get(row.code, 0.0) + row.weight
        if sums[row.code] > 1 + _ROUNDING:
            raise InputError(
                f"{origin}:{row.line}: the weights of code {row.code} sum to {sums[row.code]:g}, "
                "more than 1"
            )
