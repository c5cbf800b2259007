"""The outlines of events on a patch, drawn over its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harmonize.crises import Touch
from landmark.grid import SIZE_M, Frame
from landmark.pictures import CLASS_COLOURS, Rgb, with_outlines
from landmark.taxonomy import EVENT_CLASSES
from landmark.vectors import overlaps

#: Colour of what was looked at.
ANALYSED_COLOUR = "#ffffff"


def event_picture(rgb: Rgb, frame: Frame, touches: Sequence[Touch]) -> Rgb:
    """Return a patch's picture with the areas analysed (white) and affected (by kind of crisis).

    Args:
        rgb: (side, side, 3), the frame at any zoom.
        frame: Where it lies.
        touches: Events of the patch.
    """
    looked = [t.event.analysed for t in touches if t.event.analysed is not None]
    found = overlaps([frame], looked)
    outlines = [(ring, ANALYSED_COLOUR) for part in found.parts for ring in _rings(part)]
    outlines += [
        (ring, CLASS_COLOURS[EVENT_CLASSES[touch.event.type]])
        for touch in touches
        if touch.part is not None
        for ring in _rings(touch.part)
    ]
    scale = rgb.shape[0] / SIZE_M
    return with_outlines(
        rgb,
        [
            ([((x - frame.x_min) * scale, (frame.y_max - y) * scale) for x, y in ring], colour)
            for ring, colour in outlines
        ],
    )


def _rings(geometry: Any) -> Iterator[list[tuple[float, float]]]:
    """Yield the rings of a polygon or of several."""
    import shapely

    for part in shapely.get_parts(geometry):
        if part.geom_type == "Polygon":
            for ring in (part.exterior, *part.interiors):
                yield [(x, y) for x, y in ring.coords]
