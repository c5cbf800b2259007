"""The text queries of a dataset: `shards/queries.jsonl`, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.published import KIND as PUBLISHED
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.taxonomy import mask_of


@dataclass(frozen=True)
class Query:
    """One text query and what it asks for.

    Attributes:
        id: Unique within the dataset.
        text: What a user would type.
        kind: `single`, `combination`, `held_out`, `paraphrase`, `negation` or `published`.
        classes: Classes a relevant patch carries, all of them.
        absent: Classes a relevant patch does not carry.
        paraphrase_of: Query id this one says in other words.
    """

    id: str
    text: str
    kind: str
    classes: tuple[str, ...]
    absent: tuple[str, ...] = ()
    paraphrase_of: str | None = None

    @property
    def wanted_mask(self) -> int:
        """Mask of the classes asked for."""
        return mask_of(self.classes)

    @property
    def absent_mask(self) -> int:
        """Mask of the negated classes."""
        return mask_of(self.absent)


def read_queries(dataset: Dataset) -> tuple[Query, ...]:
    """Return a dataset's queries in file order.

    Raises:
        InputError: The file is missing, empty, or a line of it is damaged.
    """
    path = dataset.require(dataset.queries, "harmonize")
    lines = path.read_text(encoding="utf-8").splitlines()
    queries = tuple(
        _query(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()
    )
    if not queries:
        raise InputError(
            f"{path}: holds no query; lower queries.min_relevant or add labels, and run "
            "`landmark harmonize` again"
        )
    repeated = len(queries) - len({query.id for query in queries})
    if repeated:
        raise InputError(
            f"{path}: {repeated} query ids occur twice; run `landmark harmonize` again"
        )
    return queries


def _query(line: str, path: Path, number: int) -> Query:
    origin = f"{path}, line {number}"
    try:
        raw = json.loads(line)
    except ValueError:
        raise InputError(f"{origin}: is not JSON; run `landmark harmonize` again") from None
    if not isinstance(raw, dict):
        raise InputError(f"{origin}: is not a JSON object; run `landmark harmonize` again")
    query = Query(
        id=_text(raw, "id", origin),
        text=_text(raw, "text", origin),
        kind=_text(raw, "kind", origin),
        classes=_names(raw, "classes", origin),
        absent=_names(raw, "absent", origin),
        paraphrase_of=None if raw.get("paraphrase_of") is None else str(raw["paraphrase_of"]),
    )
    try:
        # A published query is judged by the archive's relevance file, whatever it names.
        if query.wanted_mask | query.absent_mask == 0 and query.kind != PUBLISHED:
            raise InputError("field classes and field absent are both empty")
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None
    return query


def _text(raw: dict[str, Any], field: str, origin: str) -> str:
    value = raw.get(field)
    if not isinstance(value, str) or not value:
        raise InputError(f"{origin}: field {field} is not a text; run `landmark harmonize` again")
    return value


def _names(raw: dict[str, Any], field: str, origin: str) -> tuple[str, ...]:
    value = raw.get(field) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(
            f"{origin}: field {field} is not a list of class names; run `landmark harmonize` again"
        )
    return tuple(value)
