"""Answers of catalogs kept in a dataset's cache, so that a second plan asks nothing.

Only whole answers are kept, without signatures and without links. The folder may be deleted at
any time.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from landmark.commits import write_atomic
from landmark.sources import is_url, unsigned


class Answers:
    """A folder of answers by question; with no folder it keeps nothing."""

    def __init__(self, folder: Path | None, *, refresh: bool = False) -> None:
        """Make a cache.

        Args:
            folder: Where; made when the first answer is written. None: nothing is kept.
            refresh: Read nothing that was there before, but write.
        """
        self._folder = folder
        self._refresh = refresh
        self._fresh: set[Path] = set()

    def read(self, question: dict[str, Any]) -> list[dict[str, Any]] | None:
        """Return the answer to a question, or None where it is not kept whole."""
        path = self._path(question)
        if path is None or (self._refresh and path not in self._fresh):
            return None
        try:
            lines = gzip.decompress(path.read_bytes()).decode().splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, EOFError, zlib.error, ValueError):
            return None

    def write(self, question: dict[str, Any], answer: Iterable[dict[str, Any]]) -> None:
        """Keep an answer: one JSON object a line, signatures and links left out."""
        path = self._path(question)
        if path is None:
            return
        lines = "".join(json.dumps(_clean(one)) + "\n" for one in answer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, gzip.compress(lines.encode(), compresslevel=3, mtime=0))
        self._fresh.add(path)

    def written(self, question: dict[str, Any]) -> str:
        """Return the day an answer was kept, ISO, UTC."""
        path = self._path(question)
        seconds = path.stat().st_mtime if path is not None and path.exists() else 0.0
        return dt.datetime.fromtimestamp(seconds, dt.UTC).date().isoformat()

    def _path(self, question: dict[str, Any]) -> Path | None:
        if self._folder is None:
            return None
        text = json.dumps(question, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.ndjson.gz"


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(one) for name, one in value.items() if name != "links"}
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, str) and is_url(value):
        return unsigned(value)
    return value
