"""Crisis classes of patches: present, absent, or not known.

Per event and patch, by the acquisition's day and the area the event covers:

    the event shows, and covers enough of the patch           -> present
    the event shows, the patch was looked at, little covered  -> absent
    the event has not begun, and the patch was looked at      -> absent
    the event has passed (or has no date)                     -> not known
    the ground was shaken, and nobody mapped the damage       -> not known

Of several events of a class the first line that holds for any of them decides, except that an
event that has passed outweighs one that has not begun.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonize.events import Event
from harmonize.mask_areas import area_on_frame
from harmonize.merging import Classes
from landmark.grid import RESOLUTION_M, SIZE_M, Frame
from landmark.label_settings import LabelRules
from landmark.projections import transformer
from landmark.taxonomy import CLASSES, CRISIS, EVENT_CLASSES, bit
from landmark.vectors import LONLAT, area_of_pixels, overlaps, union_area

PATCH_M2 = SIZE_M * SIZE_M
#: A patch counts as looked at where at least half of it was analysed: the unseen rest could hide
#: an event, but then more of the patch is known to be free of it than not.
MIN_ANALYSED = 0.5
_HECTARE_M2 = 10_000.0


@dataclass(frozen=True)
class Touch:
    """An event that a patch has to do with.

    Attributes:
        event: The event.
        phase: `before`, `during`, `after` or `undated`, seen from the acquisition.
        days: Acquisition minus start, or None.
        shows: Whether the event can be seen on the day of the acquisition.
        area: Of the patch inside the affected area, m2.
        fraction: The same as a share of the patch.
        analysed_fraction: Share of the patch inside the area looked at.
        part: What of the affected area lies inside the patch, or None.
    """

    event: Event
    phase: str
    days: float | None
    shows: bool
    area: float
    fraction: float
    analysed_fraction: float
    part: Any

    def to_record(self) -> dict[str, Any]:
        """Return the entry of the `events` column."""
        event = self.event
        return {
            "type": event.type,
            "id": event.id,
            "start": None if event.start is None else event.start.isoformat(),
            "end": None if event.end is None else event.end.isoformat(),
            "phase": self.phase,
            "days": self.days,
            "fraction": self.fraction,
            "analysed_fraction": self.analysed_fraction,
            "source": event.source,
        }


@dataclass(frozen=True)
class Verdict:
    """What is decided of one crisis class on one patch.

    Attributes:
        known: Whether presence was decided.
        present: Whether the class is there.
        fraction: Share of the patch that shows it; NaN where not known.
        reason: One clause for people.
    """

    known: bool
    present: bool
    fraction: float
    reason: str


def find_touches(
    events: Sequence[Event], frames: Sequence[Frame], times: Sequence[dt.datetime]
) -> list[list[Touch]]:
    """Return, per frame, the events whose affected or analysed area overlaps it.

    Args:
        events: Of all sources.
        frames: Where.
        times: Acquisitions (aware), one per frame.
    """
    affected = overlaps(frames, [event.geometry for event in events])
    masked = _mask_touches(events, frames, times)
    with_area = [k for k, event in enumerate(events) if event.analysed is not None]
    looked = overlaps(frames, [events[k].analysed for k in with_area])
    areas = {
        (int(f), int(g)): (float(area), part)
        for f, g, area, part in zip(
            affected.frames, affected.geometries, affected.areas, affected.parts, strict=True
        )
    }
    analysed = {
        (int(f), with_area[int(g)]): float(area)
        for f, g, area in zip(looked.frames, looked.geometries, looked.areas, strict=True)
    }
    touches: list[list[Touch]] = [[] for _ in frames]
    for f, k in sorted(areas.keys() | analysed.keys()):
        event = events[k]
        area, part = areas.get((f, k), (0.0, None))
        seen = area if event.analysed is None else analysed.get((f, k), 0.0)
        touches[f].append(
            _touch(event, times[f], area, part, seen if event.prior else max(seen, area))
        )
    return [own + more for own, more in zip(touches, masked, strict=True)]


def _mask_touches(
    events: Sequence[Event], frames: Sequence[Frame], times: Sequence[dt.datetime]
) -> list[list[Touch]]:
    """Return, per frame, the events shown by a mask of which something lies on it."""
    touches: list[list[Touch]] = [[] for _ in frames]
    masks = [event for event in events if event.mask is not None]
    if not masks:
        return touches
    for row, frame in enumerate(frames):
        box = transformer(frame.epsg, LONLAT).transform_bounds(*frame.bounds)
        for event in masks:
            if event.mask is None or not event.meets(*box):
                continue
            found = area_on_frame(event.mask, frame)
            if found.analysed.any():
                area = float(found.affected.sum()) * RESOLUTION_M**2
                part = area_of_pixels(found.affected, frame) if area else None
                seen = float(found.analysed.sum()) * RESOLUTION_M**2
                touches[row].append(_touch(event, times[row], area, part, seen))
    return touches


def _touch(event: Event, acquired: dt.datetime, area: float, part: Any, seen: float) -> Touch:
    day = acquired.astimezone(dt.UTC).date()
    return Touch(
        event=event,
        phase=event.phase(day),
        days=event.days_from(acquired),
        shows=event.shows(day) and not event.prior,
        area=area,
        fraction=min(1.0, area / PATCH_M2),
        analysed_fraction=min(1.0, seen / PATCH_M2),
        part=part,
    )


def judge(touches: Sequence[Touch], rules: LabelRules) -> Verdict:
    """Decide one crisis class on one patch from the events of its type that touch it."""
    shaken = [t for t in touches if t.event.prior and t.area > 0 and t.phase != "before"]
    touches = [touch for touch in touches if not touch.event.prior]
    showing = [touch for touch in touches if touch.shows]
    parts = [touch.part for touch in showing if touch.part is not None]
    area = min(union_area(parts), PATCH_M2) if parts else 0.0
    share = area / PATCH_M2
    enough = share >= rules.event_share or area >= rules.event_hectares * _HECTARE_M2
    if area > 0 and enough:
        names = ", ".join(dict.fromkeys(t.event.id for t in showing if t.part is not None))
        return Verdict(True, True, share, f"{names} covers {_percent(share)} of the patch")
    if any(touch.analysed_fraction >= MIN_ANALYSED for touch in showing):
        return Verdict(True, False, share, f"looked at; {_percent(share)} of the patch shows it")
    if any(touch.phase == "undated" for touch in touches):
        return _unknown("an event here has no date")
    if any(touch.phase != "before" and not touch.shows for touch in touches):
        return _unknown("an event here has passed, what is left of it was not looked at")
    if shaken:
        return _unknown("an earthquake shook this place, and nobody mapped its damage here")
    if showing:
        return _unknown(f"less than {_percent(MIN_ANALYSED)} of the patch was looked at")
    if any(touch.analysed_fraction >= MIN_ANALYSED for touch in touches):
        return Verdict(True, False, 0.0, "looked at, and the event has not begun")
    if rules.outside_events == "absent":
        # Events that have not begun leave no trace: the patch counts as outside of them.
        return Verdict(True, False, 0.0, "outside all events (outside_events: absent)")
    return _unknown("outside the areas looked at")


def judge_all(touches: Sequence[Sequence[Touch]], rules: LabelRules) -> Classes:
    """Decide the three crisis classes of patches; see `harmonize.merging.Classes`."""
    n = len(touches)
    label_mask, known_mask = np.zeros((2, n), np.uint16)
    fractions = np.full((n, len(CLASSES)), np.nan)
    untouched = verdicts((), rules)
    for row, own in enumerate(touches):
        for name, verdict in (verdicts(own, rules) if own else untouched).items():
            if verdict.known:
                known_mask[row] |= bit(name)
                fractions[row, CLASSES.index(name)] = verdict.fraction
            if verdict.present:
                label_mask[row] |= bit(name)
    return Classes(label_mask, known_mask, fractions)


def verdicts(touches: Sequence[Touch], rules: LabelRules) -> dict[str, Verdict]:
    """Return crisis class -> verdict for one patch."""
    types = {name: kind for kind, name in EVENT_CLASSES.items()}
    return {
        name: judge([touch for touch in touches if touch.event.type == types[name]], rules)
        for name in CRISIS
    }


def _unknown(reason: str) -> Verdict:
    return Verdict(False, False, float("nan"), reason)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
