"""The error of a code that means nothing: which code, in which file, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from landmark.errors import InputError
from landmark.grid import Frame
from landmark.rasters import find_code
from landmark.signing import NO_ACCESS, Access


def refuse_code(
    code: int,
    paths: Sequence[str],
    frames: Sequence[Frame],
    why: str,
    access: Access = NO_ACCESS,
) -> NoReturn:
    """Raise the error.

    Args:
        code: As the pixels hold it.
        paths: Rasters it may be in.
        frames: Where it was found.
        why: What it is not: the rest of the sentence "holds code 7, which is ...".
        access: How rasters behind URLs are signed.

    Raises:
        InputError: Always.
    """
    place = find_code(paths, frames, code, access)
    if place is None:
        path, where = ", ".join(Path(p).name for p in paths), ""
    else:
        path, where = place[0], f" at longitude {place[1]:.5f}, latitude {place[2]:.5f}"
    raise InputError(
        f"{path}: holds code {code}{where}, which {why}; list it under nodata if it means "
        "`not mapped`"
    )
