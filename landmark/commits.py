"""Whole files or none: atomic writes, and the commit mark beside each file.

A file is written to a temporary name in its own folder, synced and renamed; then a small JSON
sidecar is written the same way. The sidecar is the commit mark: a file without one does not
count. Marks hold no time, host or path, so equal work gives equal bytes.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import xxhash

from landmark.errors import LandmarkError

MARK_VERSION = 1
_CHUNK = 1 << 20
_TEMPORARY = re.compile(r"^\..+\.(?P<host>[A-Za-z0-9-]+)~(?P<pid>\d+)~\d+\.tmp$")


@dataclass(frozen=True)
class Hole:
    """A patch that could not be made, and why.

    Attributes:
        patch_id: The planned patch.
        stage: `search`, `read`, `decode`, `write`.
        cause: One line.
        attempts: How often it was tried.
    """

    patch_id: str
    stage: str
    cause: str
    attempts: int


@dataclass(frozen=True)
class Filtered:
    """A patch that a rule of the manifest rejected (`cloud`, `nodata`, ...)."""

    patch_id: str
    rule: str
    detail: str


@dataclass(frozen=True)
class CommitMark:
    """What is known of a committed file.

    Attributes:
        rows: Rows of the file.
        nbytes: Size of the file.
        xxh3: xxh3-128 of the file's bytes, hex.
        fingerprint: Hash of everything the file is a function of.
        versions: Library versions that wrote it.
        filtered: Planned patches the rules rejected.
        holes: Planned patches that could not be made.
        notes: Further facts, plain JSON values.
    """

    rows: int
    nbytes: int
    xxh3: str
    fingerprint: str
    versions: dict[str, str]
    filtered: tuple[Filtered, ...] = ()
    holes: tuple[Hole, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


def hash_bytes(data: bytes) -> str:
    """Return the xxh3-128 of some bytes, hex."""
    return xxhash.xxh3_128_hexdigest(data)


def hash_file(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes, hex, in constant memory."""
    digest = xxhash.xxh3_128()
    # Into one small buffer: a new piece of memory each time would take twice as long.
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            digest.update(buffer[:size])
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """Return the xxh3-128 of a JSON value in canonical form, hex."""
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success sync it and rename it to `path`.

    On any error the temporary file is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    counter = 0
    while True:
        temporary = path.with_name(f".{path.name}.{_host()}~{os.getpid()}~{counter}.tmp")
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:
            counter += 1
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def mark_path(path: Path) -> Path:
    """Return where the commit mark of a file lies: same name, suffix `.json`."""
    return path.with_suffix(".json")


def write_mark(path: Path, mark: CommitMark) -> None:
    """Commit `path` by writing its mark."""
    write_atomic(mark_path(path), _encode(mark))


def read_mark(path: Path) -> CommitMark | None:
    """Return the commit mark of a file, or None if it is not committed.

    A file without a mark, a mark without a file, and a file of another size than its mark says
    are all not committed: the file is to be made again.

    Raises:
        LandmarkError: The mark is damaged.
    """
    sidecar = mark_path(path)
    try:
        data = sidecar.read_bytes()
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    mark = decode_mark(data, sidecar)
    return mark if size == mark.nbytes else None


def adopt_mark(path: Path, prepared: Path) -> bool:
    """Commit a file by a mark that was written before it; return whether the two belong together.

    Args:
        path: The file.
        prepared: A commit mark that says what the file should be, lying elsewhere.

    Raises:
        LandmarkError: The prepared mark is damaged.
    """
    mark = decode_mark(prepared.read_bytes(), prepared)
    if not path.exists() or path.stat().st_size != mark.nbytes or hash_file(path) != mark.xxh3:
        return False
    write_mark(path, mark)
    return True


def damage(path: Path) -> str | None:
    """Return what is wrong with a committed file and its mark, or None if both are whole."""
    sidecar = mark_path(path)
    try:
        mark = decode_mark(sidecar.read_bytes(), sidecar)
    except FileNotFoundError:
        return "has no commit mark"
    except LandmarkError as error:
        return str(error)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != mark.nbytes:
        return f"is {size} bytes, its commit mark says {mark.nbytes}"
    if hash_file(path) != mark.xxh3:
        return "does not match the checksum of its commit mark"
    return None


def remove_committed(path: Path) -> None:
    """Remove a file and its mark, the mark first so that no crash leaves the file looking whole."""
    mark_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def sweep_temporaries(folder: Path) -> int:
    """Remove temporary files whose writer is dead; return how many.

    Only files of this host are judged: another host's process cannot be seen from here.
    """
    removed = 0
    for path in folder.rglob(".*.tmp"):
        match = _TEMPORARY.match(path.name)
        if match and match["host"] == _host() and not _alive(int(match["pid"])):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def sweep_shard(path: Path) -> None:
    """Remove temporary files of a shard and its mark, whoever wrote them, on whatever host.

    Only for whoever knows that no process writes this shard any more: its cluster is closed.
    """
    for name in (path.name, path.with_suffix(".json").name):
        for temporary in path.parent.glob(f".{glob.escape(name)}.*.tmp"):
            temporary.unlink(missing_ok=True)


def _encode(mark: CommitMark) -> bytes:
    content = {
        "mark": MARK_VERSION,
        "rows": mark.rows,
        "nbytes": mark.nbytes,
        "xxh3": mark.xxh3,
        "fingerprint": mark.fingerprint,
        "versions": mark.versions,
        "filtered": [[f.patch_id, f.rule, f.detail] for f in mark.filtered],
        "holes": [[h.patch_id, h.stage, h.cause, h.attempts] for h in mark.holes],
        "notes": mark.notes,
    }
    content["checksum"] = hash_json(content)
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def decode_mark(data: bytes, origin: PurePath) -> CommitMark:
    """Return the commit mark that the bytes of a sidecar hold.

    Raises:
        LandmarkError: They are damaged; `origin` is named.
    """
    try:
        content = json.loads(data)
        checksum = content.pop("checksum")
        if hash_json(content) != checksum:
            raise ValueError("checksum")
        mark = CommitMark(
            rows=content["rows"],
            nbytes=content["nbytes"],
            xxh3=content["xxh3"],
            fingerprint=content["fingerprint"],
            versions=content["versions"],
            filtered=tuple(Filtered(*row) for row in content["filtered"]),
            holes=tuple(Hole(*row) for row in content["holes"]),
            notes=content["notes"],
        )
        if content["mark"] != MARK_VERSION or _encode(mark) != data:
            raise ValueError("form")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LandmarkError(
            f"commit mark {origin.name} is damaged; remove it and its data file, and run again"
        ) from None
    return mark


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
