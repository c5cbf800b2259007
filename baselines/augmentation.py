"""What training patches go through: symmetries of the square."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Which of the 8 symmetries a recipe's `augment` draws from.
_VIEWS: MappingProxyType[str, tuple[int, ...]] = MappingProxyType(
    {"none": (0,), "flips": (0, 2, 4, 6), "square": tuple(range(8))}
)


def views(augment: str) -> NDArray[np.intp]:
    """Return the symmetries a recipe draws from, numbered as in `turn`.

    Args:
        augment: `none`, `flips` (mirrored in either direction, or both) or `square` (all eight).
    """
    return np.array(_VIEWS[augment], dtype=np.intp)


def turn(images: Tensor, symmetries: NDArray[np.intp]) -> Tensor:
    """Return (n, bands, side, side) with each image in one of the 8 symmetries.

    Args:
        images: As `Closp.prepare` gives them.
        symmetries: (n,) 0..7: quarter turns by k % 4, from 4 on mirrored first. 0 changes nothing.
    """
    turned = images.clone()
    for kind in np.unique(symmetries):
        if kind == 0:
            continue
        places = torch.from_numpy(np.flatnonzero(symmetries == kind)).to(images.device)
        chosen = images[places]
        if kind >= 4:
            chosen = chosen.flip(-1)
        turned[places] = torch.rot90(chosen, int(kind % 4), dims=(-2, -1))
    return turned
