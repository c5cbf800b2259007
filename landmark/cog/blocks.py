"""Which blocks square windows need, and where each block's pixels go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """A rectangle of an image: rows top..bottom, columns left..right (ends excluded)."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class BlockGrid:
    """How an image is cut into blocks; those at the right and bottom edge may stick out.

    Attributes:
        width: Columns of the image.
        height: Rows of the image.
        block_width: Columns of a block.
        block_height: Rows of a block.
    """

    width: int
    height: int
    block_width: int
    block_height: int

    @cached_property
    def across(self) -> int:
        """Blocks side by side."""
        return -(-self.width // self.block_width)

    @cached_property
    def down(self) -> int:
        """Blocks one below the other."""
        return -(-self.height // self.block_height)

    def part(self, block: int) -> Part:
        """Return what a block (row-major position) covers of the image."""
        down, across = divmod(block, self.across)
        top, left = down * self.block_height, across * self.block_width
        bottom = min(top + self.block_height, self.height)
        return Part(top, left, bottom, min(left + self.block_width, self.width))


@dataclass(frozen=True)
class Windows:
    """Square windows of one image, and the arrays their pixels go to.

    Attributes:
        corners: (row, column) of each window's upper-left pixel; may lie outside the image.
        side: Rows and columns of a window.
        planes: Band of the file, from 0 -> (windows, side, side) array of the image's dtype.
    """

    corners: Sequence[tuple[int, int]]
    side: int
    planes: dict[int, NDArray[Any]]


def empty_planes(
    grid: BlockGrid, corners: Sequence[tuple[int, int]], side: int, fill: float, dtype: np.dtype
) -> NDArray[Any]:
    """Return an array for windows; what lies outside the image holds `fill`."""
    planes: NDArray[Any] = np.empty((len(corners), side, side), dtype)
    for plane, (row, column) in zip(planes, corners, strict=True):
        if not (0 <= row <= grid.height - side and 0 <= column <= grid.width - side):
            plane[...] = np.asarray(fill).astype(dtype)
    return planes


def needed_blocks(
    grid: BlockGrid, corners: Sequence[tuple[int, int]], side: int
) -> dict[int, list[int]]:
    """Return block (row-major position) -> the windows that need it, blocks sorted."""
    found: dict[int, list[int]] = {}
    for window, (row, column) in enumerate(corners):
        top, bottom = max(0, row), min(grid.height, row + side)
        left, right = max(0, column), min(grid.width, column + side)
        if top >= bottom or left >= right:
            continue
        for down in range(top // grid.block_height, (bottom - 1) // grid.block_height + 1):
            for across in range(left // grid.block_width, (right - 1) // grid.block_width + 1):
                found.setdefault(down * grid.across + across, []).append(window)
    return dict(sorted(found.items()))


def overlap(part: Part, corner: tuple[int, int], side: int) -> Part:
    """Return what a window and a part have in common."""
    row, column = corner
    return Part(
        max(part.top, row),
        max(part.left, column),
        min(part.bottom, row + side),
        min(part.right, column + side),
    )


def scatter(
    part: Part,
    pixels: NDArray[Any] | float,
    members: Sequence[int],
    windows: Windows,
    plane: NDArray[Any],
) -> None:
    """Copy the pixels of a part of the image to the windows that need them.

    Args:
        part: What `pixels` covers (it may hold more rows and columns than that).
        pixels: Of one band; or one value for all of the part.
        members: Positions of the windows that overlap the part.
        windows: All windows.
        plane: Where to: the array of that band in `windows`.
    """
    for window in members:
        row, column = windows.corners[window]
        common = overlap(part, (row, column), windows.side)
        target = plane[
            window,
            common.top - row : common.bottom - row,
            common.left - column : common.right - column,
        ]
        if isinstance(pixels, float):
            target[...] = pixels
        else:
            target[...] = pixels[
                common.top - part.top : common.bottom - part.top,
                common.left - part.left : common.right - part.left,
            ]
