"""The header of an image file: what lies in its blocks, and where on the ground."""

from __future__ import annotations

from typing import NamedTuple

from landmark.cog.headers import FIRST_BYTES, LayoutError, Read, read_tags
from landmark.cog.layouts import (
    TIE_POINTS,
    BlockImage,
    Transform,
    image_of,
    scale_of,
    transform_of,
)


class PlacedImage(NamedTuple):
    """An image and its place.

    Attributes:
        blocks: How it is stored.
        transform: Affine (a, b, c, d, e, f), metres or degrees of the image's CRS.
    """

    blocks: BlockImage
    transform: Transform


def read_image(read: Read) -> PlacedImage:
    """Read the header of a file.

    Raises:
        LayoutError: The file is not of a layout read here; the reason.
    """
    try:
        tags = read_tags(read, read(0, FIRST_BYTES))
        transform = transform_of(scale_of(tags), tags.doubles(TIE_POINTS))
        return PlacedImage(image_of(tags), transform)
    except (IndexError, ValueError, OverflowError) as error:
        raise LayoutError(f"header not understood: {error}") from None
