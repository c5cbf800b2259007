"""Captions: the published style (`water. trees. crops`) and one grammatical sentence."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from landmark.taxonomy import (
    CLASSES,
    CRISIS,
    CRISIS_MASK,
    EVENT_CLASSES,
    LAND_COVER_MASK,
    names_of,
)

#: A land-cover class with at least this share of the known area is called dominant.
DOMINANT = 0.5
#: Below this share a class is called small.
SMALL = 0.1

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SENSORS = {"s1": "Sentinel-1 radar image", "s2": "Sentinel-2 optical image"}
# "and" inside a name would blur a list, so the two classes that have one are reworded.
_GROUND = {
    "Water": "water",
    "Trees": "trees",
    "Grass": "grass",
    "Flooded Vegetation": "flooded vegetation",
    "Crops": "crops",
    "Shrub and Scrub": "shrubland",
    "Built": "built-up land",
    "Bare": "bare ground",
    "Snow and Ice": "snow or ice",
}
# Crisis class -> wording by extent: large, middle or not measured, small.
_CRISIS_PHRASES = {
    "Flooded Area": ("a large flooded area", "a flooded area", "a small flooded area"),
    "Burned Area": ("a large burned area", "a burned area", "a small burned area"),
    "Earthquake Damage": (
        "widespread earthquake damage",
        "earthquake damage",
        "limited earthquake damage",
    ),
}
_EVENTS = {"flood": "a flood", "fire": "a fire", "earthquake": "an earthquake"}
_PHASES = ("before", "during", "after")


@dataclass(frozen=True)
class Event:
    """An event that touches a patch.

    Attributes:
        type: `flood`, `fire` or `earthquake`.
        phase: `before`, `during`, `after` or `undated`: the acquisition relative to the event.
        fraction: Share of the patch inside the affected area, 0..1.
    """

    type: str
    phase: str
    fraction: float


@dataclass(frozen=True)
class PatchFacts:
    """What the long caption is made of.

    Attributes:
        sensor: `s1` or `s2`.
        time: Acquisition, UTC.
        label_mask: Classes present.
        known_mask: Classes decided.
        fractions: 12 shares in taxonomy order, NaN where no area was measured.
        events: Events that touch the patch.
    """

    sensor: str
    time: dt.datetime
    label_mask: int
    known_mask: int
    fractions: Sequence[float]
    events: Sequence[Event] = ()


def caption(mask: int) -> str:
    """Return the label names of a mask in the published style; "" when nothing is present.

    >>> caption(0b10011)
    'water. trees. crops'
    """
    return ". ".join(name.lower() for name in names_of(mask))


def caption_long(facts: PatchFacts) -> str:
    """Return one grammatical sentence on a patch; equal facts give equal words.

    Shares of at least 0.5 make a class the main one ("mostly"), shares under 0.1 are "some"; a
    class without a measured share is named without an extent.

    >>> caption_long(PatchFacts("s2", dt.datetime(2023, 7, 4), 0b11, 0xFFF, [.7, .05] + [0] * 10))
    'A Sentinel-2 optical image taken in July 2023 shows mostly water, with some trees.'
    """
    when = f"taken in {_MONTHS[facts.time.month - 1]} {facts.time.year}"
    events = _event_phrase(facts.events)
    aside = f", {events}," if events else ""
    subject = f"A {_SENSORS[facts.sensor]} {when}{aside}"
    crisis = _crisis_phrases(facts)
    tail = ""
    if crisis:
        verb = "is" if len(crisis) == 1 else "are"
        tail = f"; {join_words(crisis)} {verb} present"
    return f"{subject} shows {_ground_phrase(facts)}{tail}."


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _ground_phrase(facts: PatchFacts) -> str:
    present = names_of(facts.label_mask & LAND_COVER_MASK)
    if not present:
        known = facts.known_mask & LAND_COVER_MASK
        if known == LAND_COVER_MASK:
            return "ground of no mapped land-cover class"
        return f"ground whose land cover is not {'fully ' if known else ''}known"
    shares = [float(facts.fractions[CLASSES.index(name)]) for name in present]
    # Largest first; not-measured shares last, in taxonomy order (sort is stable).
    order = sorted(
        range(len(present)), key=lambda i: math.inf if math.isnan(shares[i]) else -shares[i]
    )
    main = [_GROUND[present[i]] for i in order if shares[i] >= DOMINANT]
    rest = [
        f"some {_GROUND[present[i]]}" if shares[i] < SMALL else _GROUND[present[i]]
        for i in order
        if not shares[i] >= DOMINANT
    ]
    if not main:
        return join_words(rest)
    mostly = f"mostly {join_words(main)}"
    return f"{mostly}, with {join_words(rest)}" if rest else mostly


def _crisis_phrases(facts: PatchFacts) -> list[str]:
    phrases = []
    for name in names_of(facts.label_mask & CRISIS_MASK):
        share = float(facts.fractions[CLASSES.index(name)])
        large, plain, small = _CRISIS_PHRASES[name]
        phrases.append(large if share >= DOMINANT else small if share < SMALL else plain)
    return phrases


def _event_phrase(events: Sequence[Event]) -> str:
    """Return `before a flood and after an earthquake`, or "" without dated events."""
    phrases = []
    for phase in _PHASES:
        types = {e.type for e in events if e.phase == phase and e.fraction > 0}
        # Types in the order of their classes.
        ordered = [t for t in EVENT_CLASSES if t in types]
        if ordered:
            phrases.append(f"{phase} {join_words([_EVENTS[t] for t in ordered])}")
    return join_words(phrases)


assert tuple(_CRISIS_PHRASES) == CRISIS
