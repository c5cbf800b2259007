"""The seal of shards/: size and checksum of every file there that has no commit mark of its own.

`index.json` is written last. A folder without it is not finished; a byte changed in any sealed
file, or in the seal itself, is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark.commits import hash_file, hash_json, write_atomic

SEAL = "index.json"


@dataclass(frozen=True)
class Broken:
    """A damaged file: its path relative to the sealed folder, and what is wrong."""

    file: str
    cause: str


def write_changed(path: Path, data: bytes) -> bool:
    """Write a whole file unless it holds these bytes already; return whether it was written."""
    if path.exists() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def write_seal(folder: Path, files: Iterable[str]) -> bool:
    """Seal files of a folder; return whether the seal changed.

    Args:
        folder: The folder.
        files: Paths relative to it, with forward slashes.
    """
    entries = {
        name: {"nbytes": (folder / name).stat().st_size, "xxh3": hash_file(folder / name)}
        for name in sorted(files)
    }
    return write_changed(folder / SEAL, _encode(entries))


def remove_seal(folder: Path) -> None:
    """Break the seal before anything it covers is changed."""
    (folder / SEAL).unlink(missing_ok=True)


def sealed_files(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Return `{relative name: {nbytes, xxh3}}` of a folder; None if the seal is not whole."""
    try:
        data = (folder / SEAL).read_bytes()
    except OSError:
        return None
    return parse_seal(data)


def parse_seal(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return what the bytes of a seal say, as `sealed_files` does; None if they are not whole."""
    try:
        content = json.loads(data)
        entries: dict[str, dict[str, Any]] = content["files"]
        # Only the very bytes we write are valid: a flipped byte in white space shows, too.
        if _encode(entries) != data:
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return entries


def broken(folder: Path) -> list[Broken]:
    """Return what is wrong with the seal of a folder and its files; empty if all is whole."""
    if not (folder / SEAL).exists():
        return [Broken(SEAL, "is missing: run `landmark harmonize` again")]
    entries = sealed_files(folder)
    if entries is None:
        return [Broken(SEAL, "is damaged: remove it and run `landmark harmonize` again")]
    found = []
    for name, entry in entries.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError:
            found.append(Broken(name, "is missing"))
            continue
        if size != entry["nbytes"]:
            found.append(Broken(name, f"is {size} bytes, {SEAL} says {entry['nbytes']}"))
        elif hash_file(path) != entry["xxh3"]:
            found.append(Broken(name, f"does not match the checksum in {SEAL}"))
    return found


def _encode(entries: dict[str, dict[str, Any]]) -> bytes:
    content = {"files": entries, "checksum": hash_json(entries)}
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()
