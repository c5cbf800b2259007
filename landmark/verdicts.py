"""What becomes of each candidate patch: a number into the list of distinct statuses and reasons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.choosing import KEEP


class Verdicts:
    """Status and reason of each candidate, changed by rule after rule.

    Attributes:
        codes: One number a candidate, int32; 0 is `keep`.
    """

    def __init__(self, scenes: Iterable[tuple[str, str]], scene: NDArray[np.int32]) -> None:
        """Begin with what is decided of whole scenes.

        Args:
            scenes: Status and reason of each scene.
            scene: Position of each candidate's scene.
        """
        self._texts: dict[tuple[str, str], int] = {(KEEP, ""): 0}
        codes = [self.code(status, reason) for status, reason in scenes]
        self.codes = np.array(codes, dtype=np.int32)[scene]

    def code(self, status: str, reason: str) -> int:
        """Return the number of a status and reason."""
        return self._texts.setdefault((status, reason), len(self._texts))

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Which candidates are kept so far."""
        return self.codes == 0

    def texts(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Return status and reason of each number."""
        statuses = pa.array([status for status, _ in self._texts], pa.string())
        return statuses, pa.array([reason for _, reason in self._texts], pa.string())
