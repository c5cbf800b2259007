"""Members of tar and zip files as files of their own, for readers that are not GDAL.

The notation is GDAL's, `/vsisubfile/OFFSET_SIZE,FILE`: one path serves GDAL, which knows it, and
the HDF5 reader, which is given a `SubFile`.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

_NOTATION = re.compile(r"/vsisubfile/(?P<offset>\d+)_(?P<size>\d+),(?P<file>.+)")


def subfile_path(file: str, offset: int, size: int) -> str:
    """Return what a run of bytes of a file is called."""
    return f"/vsisubfile/{offset}_{size},{file}"


def is_subfile(path: str) -> bool:
    """Return whether a path names a run of bytes of a file."""
    return path.startswith("/vsisubfile/")


def extent(path: str) -> tuple[str, int, int]:
    """Return the file, the first byte and the size that a `/vsisubfile/` path names.

    Raises:
        OSError: It names none.
    """
    found = _NOTATION.fullmatch(path)
    if found is None:
        raise OSError(f"{path!r} names no part of a file")
    return found["file"], int(found["offset"]), int(found["size"])


class SubFile(io.RawIOBase):
    """A run of bytes of a file, read by offset.

    Reading beyond the file's end raises: readers of formats take what a buffer holds, and would
    see whatever was in it.
    """

    def __init__(self, path: str) -> None:
        """Open the bytes a `/vsisubfile/` path names.

        Raises:
            OSError: There is no such file, or it ends before they do.
        """
        file, self._start, self._size = extent(path)
        self._at = 0
        self._file = Path(file).open("rb", buffering=0)  # noqa: SIM115 (closed by close)
        if os.fstat(self._file.fileno()).st_size < self._start + self._size:
            self._file.close()
            raise OSError("the file that holds it is cut off")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place counted from the part's own start, place or end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the part goes; return how many bytes that were.

        Raises:
            OSError: The file ends inside the part.
        """
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        done = 0
        while done < wanted:
            place = self._start + self._at + done
            got = os.preadv(self._file.fileno(), [view[done:wanted]], place)
            if not got:
                raise OSError("the file ends inside it")
            done += got
        self._at += done
        return done

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
