"""What labelling takes from rows of a patch shard: frames, the ground around, cloud masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.codec import decode_scl
from landmark.grid import PIXELS, Frame
from landmark.label_files import Box

#: No patch (1.2 km, up to 84 degrees north) reaches farther from its centre.
_REACH_DEGREES = 0.1


def frames_of(patches: pa.Table) -> list[Frame]:
    """Return the frames of patch rows (`patch_id`, `epsg`, `transform`)."""
    return [
        Frame(name=name, epsg=epsg, x_min=transform[2], y_max=transform[5])
        for name, epsg, transform in zip(
            patches["patch_id"].to_pylist(),
            patches["epsg"].to_pylist(),
            patches["transform"].to_pylist(),
            strict=True,
        )
    ]


def box_around(patches: pa.Table) -> Box:
    """Return west, south, east, north around patches (`lon`, `lat`), degrees."""
    lon, lat = patches["lon"].to_numpy(), patches["lat"].to_numpy()
    return (
        float(lon.min()) - _REACH_DEGREES,
        float(lat.min()) - _REACH_DEGREES,
        float(lon.max()) + _REACH_DEGREES,
        float(lat.max()) + _REACH_DEGREES,
    )


def cloud_masks(patches: pa.Table, cloud_classes: Sequence[int]) -> NDArray[np.bool_]:
    """Return (patches, 60, 60), True on cloud; all False where a patch has no scene classes."""
    masks = np.zeros((patches.num_rows, PIXELS // 2, PIXELS // 2), np.bool_)
    for row, frame in enumerate(patches["scl"]):
        if frame.is_valid:
            masks[row] = np.isin(decode_scl(frame.as_buffer()), cloud_classes)
    return masks
