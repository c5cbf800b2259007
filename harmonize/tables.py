"""Labels of whole patches from a table: `patch_id,label` as CSV, or Parquet.

`patch_id` is a patch's own id, or the name of its frame (the id without sensor, platform and time),
which then labels the patches of both sensors. A patch may have several rows, or several labels
in one cell (a list in Parquet, `|` between them in CSV). A label is a name or a code of the
crosswalk.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harmonize.crosswalks import Crosswalk
from landmark.errors import InputError
from landmark.rasters import FRAME_PIXELS, Counts

KEY = "patch_id"
#: The attribute with the label, where the manifest names none.
_FIELDS = ("label", "labels")

Table = Mapping[str, tuple[int, ...]]


def read_table(path: str, field: str | None, crosswalk: Crosswalk) -> dict[str, tuple[int, ...]]:
    """Return patch id or frame name -> the codes of its labels.

    Args:
        path: CSV, or Parquet by its suffix.
        field: Column with the label; None: `label` or `labels`.
        crosswalk: Names and codes of the labels.

    Raises:
        InputError: The file cannot be read, lacks a column, or holds a label the crosswalk lacks.
    """
    found: dict[str, dict[int, None]] = {}
    known: dict[str, int] = {}
    for where, name, labels in _rows(path, field):
        if not name:
            raise InputError(f"{where}: names no patch")
        own = found.setdefault(name, {})
        for label in labels:
            if label not in known:
                known[label] = _code(label, crosswalk, where)
            own[known[label]] = None
    if not found:
        raise InputError(f"{path}: holds no row")
    return {name: tuple(sorted(codes)) for name, codes in found.items()}


def near(table: Table, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the rows that label some patches."""
    keys = {key for name in names for key in (name, frame_name(name)) if key in table}
    return {key: table[key] for key in keys}


def count(table: Table, names: Sequence[str], crosswalk: Crosswalk) -> Counts:
    """Return labels as counts: a patch of the table counts as covered, each label as one."""
    codes = np.array(crosswalk.codes(), np.int32)
    counts = np.zeros((len(names), len(codes)), np.int32)
    covered = np.zeros(len(names), np.int32)
    for row, name in enumerate(names):
        own = table.get(name, table.get(frame_name(name)))
        if own is not None:
            covered[row] = FRAME_PIXELS
            counts[row, np.searchsorted(codes, own)] = 1
    return Counts(codes, counts, covered)


def frame_name(patch_id: str) -> str:
    """Return the name of a patch's frame: its id without sensor, platform and time."""
    parts = patch_id.rsplit("_", 3)
    return parts[0] if len(parts) == 4 else patch_id


def _code(label: str, crosswalk: Crosswalk, where: str) -> int:
    code = crosswalk.code_of(label)
    if code is None:
        names = list(dict.fromkeys(row.name for row in crosswalk.rows))
        close = difflib.get_close_matches(label, names, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else f"; there are {', '.join(names)}"
        raise InputError(f"{where}: label {label!r} is not in crosswalk {crosswalk.name}{hint}")
    return code


def _rows(path: str, field: str | None) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (place for messages, patch, labels)."""
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        yield from _parquet_rows(path, field)
        return
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            key, column = _columns(header, field, path)
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise InputError(f"{where}: has {len(cells)} cells, not {len(header)}")
                labels = [part.strip() for part in cells[column].split("|")]
                yield where, cells[key].strip(), [label for label in labels if label]
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a table ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save the table as UTF-8 CSV") from None
    except csv.Error as error:
        raise InputError(f"{path}: is no CSV: {error}") from None


def _parquet_rows(path: str, field: str | None) -> Iterator[tuple[str, str, list[str]]]:
    try:
        names = pq.read_schema(path).names
        key, column = _columns(names, field, path)
        table = pq.read_table(path, columns=[names[key], names[column]])
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from None
    pairs = zip(table[names[key]].to_pylist(), table[names[column]].to_pylist(), strict=True)
    for number, (name, value) in enumerate(pairs):
        labels = value if isinstance(value, list) else [value]
        yield (
            f"{path}: row {number}",
            str(name or ""),
            [str(label) for label in labels if label is not None],
        )


def _columns(header: Sequence[str], field: str | None, path: str) -> tuple[int, int]:
    wanted = (field,) if field else _FIELDS
    column = next((name for name in wanted if name in header), None)
    if KEY not in header or column is None:
        lacking = KEY if KEY not in header else " or ".join(wanted)
        raise InputError(f"{path}: has no column {lacking}; there are {', '.join(header)}")
    return list(header).index(KEY), list(header).index(column)
