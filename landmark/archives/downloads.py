"""Downloading an archive once: resumed where it broke off, checked, whole or not there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3

from landmark.archive_settings import Archive
from landmark.errors import InputError, LandmarkError
from landmark.grid import check_name
from landmark.progress import Progress

_ATTEMPTS = 5
_PAUSE_S = 0.5
_PIECE = 1 << 16
_TIMEOUT = urllib3.Timeout(connect=20, read=60)
#: Answers that heal by waiting.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def download_path(settings: Archive, folder: Path) -> Path:
    """Return where the file of a URL is kept, below a folder of its own checksum or URL.

    Raises:
        InputError: The URL names no file.
    """
    name = unquote(urlsplit(settings.href).path).rpartition("/")[2]
    check_name(name, settings.href)
    key = settings.sha256 or settings.md5 or settings.href
    return folder / hashlib.sha256(key.encode()).hexdigest()[:12] / name


def download(settings: Archive, folder: Path, progress: Progress) -> Path:
    """Return the file of an archive's URL, downloading what of it is not there yet.

    What was received before a break is kept in `NAME.part` and continued by a range request; a
    server that does not continue is read from the start. The file gets its name only after its
    checksum (where the manifest gives one) and its length are right.

    Raises:
        InputError: The server has no such file, or the checksum is another one.
        LandmarkError: The server does not answer, however often it is asked.
    """
    path = download_path(settings, folder)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
    cause = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            progress.note(f"{settings.href}: {cause}; trying again")
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        try:
            _receive(pool, settings.href, part, progress)
        except _BrokenOffError as error:
            cause = str(error)
            continue
        _verify(settings, part)
        part.rename(path)
        return path
    raise LandmarkError(f"{settings.href}: {cause}; what came is kept, run the command again")


class _BrokenOffError(Exception):
    """The transfer broke off; it can be continued."""


def _receive(pool: urllib3.PoolManager, url: str, part: Path, progress: Progress) -> None:
    """Append to a part file what the server still has of it."""
    held = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={held}-", "Accept-Encoding": "identity"} if held else {}
    try:
        # A short answer is found by its length below; enforced, what came of it would be lost.
        answer = pool.request(
            "GET", url, headers=headers, preload_content=False, enforce_content_length=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise _BrokenOffError(f"no answer ({type(error).__name__})") from None
    try:
        if answer.status == 416:  # nothing is left to send
            return
        if answer.status in _PASSING:
            raise _BrokenOffError(f"HTTP {answer.status}")
        if answer.status not in (200, 206):
            raise InputError(f"{url}: HTTP {answer.status}: no such file for us")
        begun = held if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = begun + int(length) if length is not None else None
        progress.start(f"download {part.name.removesuffix('.part')}", total or 0)
        progress.advance(begun)
        with part.open("r+b" if begun else "wb") as stream:
            stream.seek(begun)
            for piece in _pieces(answer):
                stream.write(piece)
                progress.advance(len(piece))
            stream.truncate()
            size = stream.tell()
        progress.finish()
    finally:
        answer.release_conn()
    if total is not None and size < total:
        raise _BrokenOffError(f"broke off at {size} of {total} bytes")


def _pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body; a break ends it, for the length to tell."""
    try:
        yield from answer.stream(_PIECE)
    except urllib3.exceptions.HTTPError:
        return


def _verify(settings: Archive, part: Path) -> None:
    for kind, wanted in (("sha256", settings.sha256), ("md5", settings.md5)):
        if wanted is None:
            continue
        digest = hashlib.new(kind, usedforsecurity=False)
        with part.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
        if digest.hexdigest() != wanted:
            part.unlink()
            raise InputError(
                f"{settings.href}: has {kind} {digest.hexdigest()}, not {wanted}; it was removed: "
                "correct the manifest or the URL"
            )
