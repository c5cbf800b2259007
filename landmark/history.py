"""What was run on a dataset and how long it took: one line per command, for the report only.

The history lies in the cache, so it may be deleted, and nothing that is promised to be
reproducible reads it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import dataclass
from pathlib import Path

from landmark.dataset import Dataset


@dataclass(frozen=True)
class Entry:
    """One finished command.

    Attributes:
        command: As typed, without the program's name and paths: `fetch --plan`.
        started: ISO 8601, UTC, to the second.
        seconds: Wall time.
    """

    command: str
    started: str
    seconds: float


def history_path(dataset: Dataset) -> Path:
    """Return where the history lies."""
    return dataset.cache / "history.jsonl"


def record(dataset: Dataset, command: str, started: dt.datetime, seconds: float) -> None:
    """Add a finished command; a dataset that cannot be written to simply keeps no history."""
    line = json.dumps(
        {
            "command": command,
            "started": started.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": round(seconds, 2),
        }
    )
    path = history_path(dataset)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of concurrent parts never mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)


def read(dataset: Dataset) -> tuple[Entry, ...]:
    """Return the history, oldest first; lines that cannot be read are left out."""
    try:
        lines = history_path(dataset).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            raw = json.loads(line)
            entries.append(Entry(str(raw["command"]), str(raw["started"]), float(raw["seconds"])))
    return tuple(entries)
