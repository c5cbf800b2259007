"""Items of a local catalog: a static STAC catalog, an ItemCollection, or one item a line.

The raw JSON is kept as it is: filters and fields then mean the same whichever form the items
come in (libraries that upgrade STAC versions on reading rename properties).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cql2

from landmark.errors import InputError
from landmark.sources import is_url
from landmark.stac_items import Item

_LINES = frozenset({".ndjson", ".jsonl", ".geojsonl"})


@dataclass(frozen=True)
class LocalItem:
    """An item and where it was found.

    Attributes:
        item: Its JSON.
        folder: Folder its relative hrefs start from.
        licence: Licence of its collection, or "".
    """

    item: Item
    folder: Path
    licence: str


def read_items(path: Path) -> Iterator[LocalItem]:
    """Yield the items of a catalog file, in the order of the file or of its links.

    Args:
        path: `catalog.json`, `collection.json`, an ItemCollection, one item, or a file with one
            item a line (`.ndjson`, `.jsonl`).

    Raises:
        InputError: A file is missing, no JSON, or no STAC.
    """
    if path.suffix.lower() in _LINES:
        yield from _read_lines(path)
        return
    value = _read_json(path)
    if value.get("type") in ("Catalog", "Collection"):
        yield from _walk(path, value, "", {path})
    elif value.get("type") == "FeatureCollection":
        features = value.get("features") or []
        if not isinstance(features, list):
            raise InputError(f"{path}: `features` is no list of items; mend the file")
        for number, item in enumerate(features):
            yield LocalItem(_checked(item, f"{path}: feature {number}"), path.parent, "")
    else:
        yield LocalItem(_checked(value, str(path)), path.parent, "")


def matcher(text: str, field: str) -> Callable[[Item], bool]:
    """Return a function that tells whether an item matches a CQL2 text filter.

    A comparison with a property the item lacks does not match, as in SQL.

    Raises:
        InputError: The text is no CQL2.
    """
    expression = parse_filter(text, field)

    def matches(item: Item) -> bool:
        try:
            return bool(expression.matches(item))
        except Exception as error:
            if "reduce" in str(error):  # a property of the expression is unknown to the item
                return False
            raise InputError(f"{field}: {text!r}: {str(error).splitlines()[0]}") from None

    return matches


def parse_filter(text: str, field: str) -> cql2.Expr:
    """Return a CQL2 text filter as an expression.

    Raises:
        InputError: The text is no CQL2.
    """
    try:
        return cql2.Expr(text)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{field}: {text!r} is no CQL2 text: {reason}") from None


def _walk(path: Path, value: dict[str, Any], licence: str, seen: set[Path]) -> Iterator[LocalItem]:
    licence = str(value.get("license") or licence)
    for link in _links(value, path):
        if link.get("rel") not in ("child", "item"):
            continue
        href = str(link.get("href"))
        if is_url(href):
            raise InputError(f"{path}: links to {href}; a local catalog must be local as a whole")
        if "\0" in href:
            raise InputError(f"{path}: href {href!r} is no path")
        target = (path.parent / href).resolve()
        if target in seen:
            continue
        seen.add(target)
        found = _read_json(target)
        if link["rel"] == "child":
            yield from _walk(path.parent / href, found, licence, seen)
        else:
            # Paths go on from the catalog as it was named, so that links on the way do not matter.
            folder = (path.parent / href).parent
            yield LocalItem(_checked(found, str(target)), folder, licence)


def _links(value: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    links = value.get("links") or []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise InputError(f"{path}: `links` is no list of links; mend the catalog file")
    return links


def _read_lines(path: Path) -> Iterator[LocalItem]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    where = f"{path}: line {number}"
                    yield LocalItem(_checked(_parse(line, where), where), path.parent, "")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    return _parse(text, str(path))


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: holds no STAC object")
    return value


def _checked(item: Any, where: str) -> Item:
    whole = (
        isinstance(item, dict)
        and item.get("type") == "Feature"
        and isinstance(item.get("id"), str)
        and isinstance(item.get("properties"), dict)
        and isinstance(item.get("assets"), dict)
    )
    if not whole:
        raise InputError(f"{where}: is no STAC item (needs type, id, properties, assets)")
    checked: Item = item
    return checked
