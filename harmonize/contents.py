"""What tells the content of a label file, so that labels are made again when it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xxhash

from landmark.sources import is_url

#: Files larger than this are known by size, head and tail: hashing CORINE's whole raster would
#: cost more than labelling with it.
_WHOLE_FILE = 256 << 20
_PIECE = 1 << 20


def file_content(path: str | Path) -> Any:
    """Return the content of a label file; some formats are a folder, or all files of a stem."""
    if is_url(str(path)):
        return str(path)
    path = Path(path)
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.is_file())
        return [[part.relative_to(path).as_posix(), _content(part)] for part in parts]
    if path.suffix.lower() != ".shp":
        return _content(path)
    return [_content(part) for part in sorted(path.parent.glob(f"{path.stem}.*"))]


def _content(path: str | Path) -> str:
    """Return what tells a file's content: xxh3 of it, or of size, head and tail if it is large."""
    digest = xxhash.xxh3_128()
    size = Path(path).stat().st_size
    digest.update(str(size).encode())
    with Path(path).open("rb") as stream:
        if size > _WHOLE_FILE:
            digest.update(stream.read(_PIECE))
            stream.seek(-_PIECE, os.SEEK_END)
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
