"""The one taxonomy every label source is mapped into.

Nine land-cover classes in Dynamic World's own order (Brown et al. 2022), then three crisis
classes. The position of a class is its bit in `label_mask` and `known_mask` (bit 0 first) and
its place in `fractions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from landmark.errors import InputError

LAND_COVER: tuple[str, ...] = (
    "Water",
    "Trees",
    "Grass",
    "Flooded Vegetation",
    "Crops",
    "Shrub and Scrub",
    "Built",
    "Bare",
    "Snow and Ice",
)
CRISIS: tuple[str, ...] = ("Flooded Area", "Burned Area", "Earthquake Damage")
CLASSES: tuple[str, ...] = LAND_COVER + CRISIS

LAND_COVER_MASK = (1 << len(LAND_COVER)) - 1
CRISIS_MASK = ((1 << len(CRISIS)) - 1) << len(LAND_COVER)
ALL_MASK = LAND_COVER_MASK | CRISIS_MASK

#: Event type (as written in manifests) -> the crisis class its polygons give.
EVENT_CLASSES: MappingProxyType[str, str] = MappingProxyType(
    {"flood": "Flooded Area", "fire": "Burned Area", "earthquake": "Earthquake Damage"}
)

_BITS = {name: 1 << index for index, name in enumerate(CLASSES)}


def bit(name: str) -> int:
    """Return the mask bit of a class name.

    Raises:
        InputError: `name` is not in the taxonomy.
    """
    try:
        return _BITS[name]
    except KeyError:
        raise InputError(
            f"unknown class {name!r}: the taxonomy holds {', '.join(CLASSES)}"
        ) from None


def mask_of(names: Iterable[str]) -> int:
    """Return the bit mask of several class names (0 for none)."""
    mask = 0
    for name in names:
        mask |= bit(name)
    return mask


def names_of(mask: int) -> tuple[str, ...]:
    """Return the class names of a mask, in taxonomy order."""
    return tuple(name for name, value in _BITS.items() if mask & value)
