"""Unpacking what cannot be read in place: HDF5 files that a zip compresses."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from landmark.archives.containers import Zip
from landmark.digits import whole_number
from landmark.errors import InputError
from landmark.progress import Progress

_GB = 1e9
#: Between the name of what is unpacked and whose half-made copy a folder is.
_PART = ".part-"


def unpacked(path: Path, folder: Path, progress: Progress) -> Path:
    """Return an archive whose HDF5 files can be read: as it is, or unpacked once below a folder.

    HDF5 files need access by offset, which compression takes away. A zip that holds some
    compressed is unpacked whole; another zip, a tar or a folder is returned as it is.

    Args:
        path: The archive, existing.
        folder: Cache for archives; a zip that changes is unpacked anew.
        progress: Told why, and of every byte.

    Raises:
        InputError: The zip is damaged, or the disk has no room for what it holds.
    """
    if not path.is_file() or path.suffix.lower() != ".zip":
        return path
    packed = Zip(path)
    compressed = [info for info in packed.hdf5_members.values() if info.compress_type]
    if not compressed:
        return path
    state = path.stat()
    key = f"{path}:{state.st_size}:{state.st_mtime_ns}"
    target = folder / hashlib.sha256(key.encode()).hexdigest()[:12]
    if target.is_dir():
        return target
    size = packed.unpacked_bytes
    _remove_unfinished(target)
    _require_room(path, folder, size)
    folder.mkdir(parents=True, exist_ok=True)
    progress.note(
        f"{path}: holds HDF5 files compressed, which cannot be read in place; unpacking "
        f"{size / _GB:.3g} GB once to {target} (zip -0 would make that needless)"
    )
    _unpack(packed, target, size, progress)
    return target


def _unpack(packed: Zip, target: Path, size: int, progress: Progress) -> None:
    own = f"{target.name}{_PART}{socket.gethostname()}-{os.getpid()}-"
    part = Path(tempfile.mkdtemp(prefix=own, dir=target.parent))
    try:
        progress.start(f"unpack {packed.path.name}", size)
        packed.unpack(part, progress.advance)
        progress.finish()
        part.chmod(0o755)  # a temporary folder is its maker's alone; a dataset may be shared
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_unfinished(target: Path) -> None:
    """Remove what processes of this machine that no longer live have left half unpacked."""
    own = f"{target.name}{_PART}{socket.gethostname()}-"
    for part in target.parent.glob(f"{glob.escape(own)}*"):
        pid = whole_number(part.name.removeprefix(own).partition("-")[0])
        if pid is not None and not _is_alive(pid):
            shutil.rmtree(part, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    return True


def _require_room(path: Path, folder: Path, size: int) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < size:
        raise InputError(
            f"{path}: its HDF5 files are compressed; unpacked it needs {size / _GB:.3g} GB, but "
            f"{folder} has {free / _GB:.3g} GB free; unpack it elsewhere and name that folder"
        )
