"""The recorded answers of real catalogs: items, and HTTP exchanges as cassettes hold them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer.

    Attributes:
        method: `GET` or `POST`.
        url: Where to.
        body: What was sent, JSON, or None.
        answer: What came back, JSON.
    """

    method: str
    url: str
    body: Any
    answer: Any


def exchanges(path: Path) -> Iterator[Exchange]:
    """Yield the JSON exchanges of a VCR cassette."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as stream:
        recorded = yaml.load(stream, Loader=loader)
    for one in recorded["interactions"]:
        content = one["response"]["body"].get("string") or b""
        content = content.encode() if isinstance(content, str) else content
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        sent = one["request"].get("body")
        yield Exchange(
            one["request"]["method"],
            one["request"]["uri"],
            json.loads(sent) if sent else None,
            json.loads(content),
        )


def recorded_items(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (folder name, item) of all files under `stac_items`, each item once a folder."""
    seen = set()
    for path in sorted(folder.glob("*/*")):
        if path.suffix == ".yaml":
            values: list[Any] = [one.answer for one in exchanges(path)]
        else:
            values = [json.loads(path.read_text())]
        for item in _features(values):
            key = (path.parent.name, item.get("collection"), item["id"])
            if key not in seen:
                seen.add(key)
                yield path.parent.name, item


def _features(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for one in value:
            yield from _features(one)
    elif isinstance(value, dict) and value.get("type") == "Feature":
        yield value
    elif isinstance(value, dict) and value.get("type") == "FeatureCollection":
        yield from _features(value["features"])
