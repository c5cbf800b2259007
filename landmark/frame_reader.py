"""What every reader of a shard does with a frame, wherever the frame comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.codec import Buffer, decode_image, decode_packed, decode_planes, frame_xxh3
from landmark.errors import LandmarkError
from landmark.schema import ImageLayout


class Named(Protocol):
    """Where a shard lies: a path, or what may be shown of a URL."""

    @property
    def name(self) -> str:
        """The file's own name."""


class FrameReader(ABC):
    """One shard, read patch by patch. Thread-safe.

    Attributes:
        path: Where it lies: prints as errors should name it.
        rows: Number of patches.
        layout: How their images lie in the frames.
    """

    path: Named
    rows: int
    layout: ImageLayout

    @abstractmethod
    def frame(self, row: int) -> Buffer:
        """Return the image frame of a row, checked by its checksum.

        Raises:
            IndexError: There is no such row.
            LandmarkError: The bytes do not match `image_xxh3`.
        """

    @abstractmethod
    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of some columns (None: all columns but the frames)."""

    @abstractmethod
    def value(self, column: str, row: int) -> bytes | None:
        """Return one value of a binary column such as `scl`; reads its whole row group."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held open."""

    def planes(self, row: int) -> list[NDArray[np.generic]]:
        """Return the native-resolution planes of a row, in band order."""
        return decode_planes(self.frame(row), self.layout)

    def image(
        self,
        row: int,
        out: NDArray[np.generic] | None = None,
        scratch: NDArray[np.generic] | None = None,
    ) -> NDArray[np.generic]:
        """Return the image of a row, (bands, 120, 120) of the stored dtype (or in `out`).

        `scratch` is working space: see `decode_image`.
        """
        return decode_image(self.frame(row), self.layout, out, scratch)

    def packed(self, row: int, out: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
        """Return the native planes of a row one after another, (layout.values,), or in `out`."""
        return decode_packed(self.frame(row), self.layout, out)

    def _require(self, row: int) -> None:
        if not 0 <= row < self.rows:
            raise IndexError(f"{self.path.name} holds {self.rows} rows, not row {row}")

    def _checked(self, frame: Buffer, row: int, xxh3: int, mend: str) -> Buffer:
        if frame_xxh3(frame) != xxh3:
            raise LandmarkError(
                f"{self.path}: image of row {row} does not match its checksum; {mend}"
            )
        return frame
