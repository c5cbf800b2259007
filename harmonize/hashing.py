"""Seeded draws from names: the same seed and name give the same number on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray


def draws(names: Sequence[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return one 64-bit draw per name; different purposes give independent draws.

    Args:
        names: Stable ids (patch, block, query).
        seed: The manifest's seed.
        purpose: What the draw is for.
    """
    prefix = f"{seed}:{purpose}:"
    return np.fromiter(
        (xxhash.xxh3_64_intdigest((prefix + name).encode()) for name in names),
        np.uint64,
        count=len(names),
    )
