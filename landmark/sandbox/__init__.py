"""The sandbox: a small, clearly synthetic Earth to try everything on.

`ensure_sandbox` writes it to a folder: a static STAC catalog of Sentinel-1 and Sentinel-2 scenes
over two places (one per hemisphere) before and after crises, label rasters and event polygons.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from landmark.errors import InputError
from landmark.progress import Progress, Silent
from landmark.sandbox.places import Size

#: Raised whenever the bytes of a sandbox change.
SANDBOX_VERSION = 2
_MARKER = "sandbox.json"


def ensure_sandbox(
    folder: Path, size: Size = "demo", seed: int = 0, progress: Progress | None = None
) -> Path:
    """Make the synthetic Earth in a folder unless it is there; return its `catalog.json`.

    The files are written to a temporary folder beside `folder` and renamed when all are there: an
    interrupted run leaves nothing behind, and a killed one a temporary folder that the next run
    removes. A sandbox of another size, seed or version is replaced.

    Args:
        folder: Where the sandbox is to be; its parents are made.
        size: `demo`: 36 x 36 km per place; `small`: 8.4 x 8.4 km per place, for tests.
        seed: Seed of everything random.
        progress: Told of every raster; none: silent.

    Returns:
        Path of `catalog.json` inside `folder`.

    Raises:
        InputError: `size` is unknown, or `folder` holds something that is not a sandbox.
    """
    if size not in ("small", "demo"):
        raise InputError(f"sandbox size {size!r} is unknown: use 'small' or 'demo'")
    marker = _marker_text(size, seed)
    _sweep(folder)
    if _is_made(folder, marker):
        return folder / "catalog.json"
    _refuse_foreign(folder)
    # Imported late: rasterio and pystac are needed only when a sandbox is made.
    from landmark.sandbox.making import make_sandbox

    with _temporary_folder(folder) as temporary:
        make_sandbox(temporary, size, seed, progress or Silent())
        (temporary / _MARKER).write_text(marker)
        _publish(temporary, folder, marker)
    return folder / "catalog.json"


def _marker_text(size: str, seed: int) -> str:
    content = {"sandbox": SANDBOX_VERSION, "size": size, "seed": seed}
    return json.dumps(content, sort_keys=True) + "\n"


def _is_made(folder: Path, marker: str) -> bool:
    try:
        return (folder / _MARKER).read_text() == marker
    except (FileNotFoundError, NotADirectoryError):
        return False


def _refuse_foreign(folder: Path) -> None:
    """Never replace a folder (or file) that this module did not make."""
    if not folder.exists() or (folder / _MARKER).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(
            f"{folder} exists and is not a sandbox: name an empty or absent folder for it"
        )


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Give a fresh folder beside `folder`; whatever of it remains in the end is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    counter = 0
    while True:
        temporary = folder.with_name(f".{folder.name}.{_host()}~{os.getpid()}~{counter}.tmp")
        try:
            temporary.mkdir()
            break
        except FileExistsError:
            counter += 1
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path, marker: str) -> None:
    """Rename a finished sandbox into place; another process may have been faster."""
    if folder.exists():
        with _temporary_folder(folder) as grave:
            with contextlib.suppress(FileNotFoundError):
                folder.replace(grave / "old")
            _rename(temporary, folder, marker)
    else:
        _rename(temporary, folder, marker)


def _rename(temporary: Path, folder: Path, marker: str) -> None:
    try:
        temporary.replace(folder)
    except OSError:
        if not _is_made(folder, marker):
            raise


def _sweep(folder: Path) -> None:
    """Remove temporary folders of this sandbox whose writer is dead (on this host)."""
    if not folder.parent.is_dir():
        return
    form = re.compile(rf"\.{re.escape(folder.name)}\.{re.escape(_host())}~(\d+)~\d+\.tmp")
    for path in folder.parent.iterdir():
        match = form.fullmatch(path.name)
        if match and path.is_dir() and not _alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


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
