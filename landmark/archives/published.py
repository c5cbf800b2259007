"""The queries and relevance files an archive publishes: taken over, or carried on by an export.

    queries.jsonl      {"id": ..., "query": ...} per line
    qrels/<id>.tsv     key and relevance per line, with or without a header; or files of three
                       (query, key, relevance) or four columns (TREC: query, 0, key, relevance)

The layout of the published qrels is not documented: what cannot be read is an error, never
guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from landmark.archives.containers import Container
from landmark.errors import InputError

_HEADERS = ({"key", "relevance"}, {"query", "key", "relevance"}, {"query_id", "key", "relevance"})


@dataclass(frozen=True)
class Published:
    """Queries and relevance of an archive.

    Attributes:
        queries: (id, text), in file order.
        grades: Query id -> key -> relevance, a whole number.
    """

    queries: tuple[tuple[str, str], ...]
    grades: dict[str, dict[str, int]]


def read_published(files: Container) -> Published:
    """Return what an archive publishes.

    Raises:
        InputError: There are no queries, or a line of a file is damaged.
    """
    queries = _queries(files)
    known = {query for query, _ in queries}
    grades: dict[str, dict[str, int]] = {query: {} for query, _ in queries}
    for name in files.names("qrels"):
        _read_grades(files, f"qrels/{name}", known, grades)
    return Published(queries, grades)


def _queries(files: Container) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    lines = files.read("queries.jsonl").decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        origin = f"{files.origin}/queries.jsonl, line {number}"
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
        except ValueError:
            raise InputError(f"{origin}: is no JSON") from None
        text = raw.get("query", raw.get("text")) if isinstance(raw, dict) else None
        name = raw.get("id") if isinstance(raw, dict) else None
        if not isinstance(text, str) or not isinstance(name, str | int) or not text:
            raise InputError(f"{origin}: has no id or no query")
        identifier = str(name)
        if any(c.isspace() for c in identifier) or identifier in (q for q, _ in found):
            raise InputError(f"{origin}: id {identifier!r} holds a blank or comes twice")
        found.append((identifier, text))
    if not found:
        raise InputError(f"{files.origin}: queries.jsonl holds no query")
    return tuple(found)


def _read_grades(
    files: Container, name: str, known: set[str], grades: dict[str, dict[str, int]]
) -> None:
    stem = name.rpartition("/")[2].rsplit(".", 1)[0]
    lines = files.read(name).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        origin = f"{files.origin}/{name}, line {number}"
        parts = line.split("\t") if "\t" in line else line.split()
        if not parts or (number == 1 and set(parts) in _HEADERS):
            continue
        if len(parts) not in (2, 3, 4):
            raise InputError(f"{origin}: has {len(parts)} columns, not key and relevance")
        query = stem if len(parts) == 2 else parts[0]
        key, grade = parts[-2], parts[-1]
        if query not in known:
            raise InputError(f"{origin}: judges query {query!r}, which queries.jsonl does not have")
        try:
            value = int(grade)
        except ValueError:
            raise InputError(f"{origin}: relevance {grade!r} is no whole number") from None
        if grades[query].setdefault(key, value) != value:
            raise InputError(f"{origin}: judges {key} twice, differently")
