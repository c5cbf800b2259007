"""What readers of larger georeferenced tiles share: their scenes, and their units by value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from landmark.archives.reading import Request
from landmark.errors import LandmarkError
from landmark.opening import open_image
from landmark.scenes import BandAsset, SourceGrid

#: Images whose values are looked at for an archive's unit.
SAMPLES = 16
_SIDE = 256


def sample_values(
    request: Request, assets: Sequence[tuple[BandAsset, SourceGrid | None]]
) -> list[NDArray[np.floating]]:
    """Return values of some radar bands, thinned to about 256 x 256 each, as stored.

    A band that cannot be read gives none: it will be a hole with its cause.
    """
    found = []
    for asset, grid in assets:
        try:
            with open_image(request.path(asset.href), grid=grid) as source:
                shape = tuple(min(_SIDE, size) for size in source.shape)
                values = source.read(asset.index, out_shape=shape)
        except LandmarkError:
            continue
        found.append(values.astype(np.float64).ravel())
    return found
