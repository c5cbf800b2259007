"""Captions: the published style (`water. trees. crops`) and one grammatical sentence.

A sentence is made of phrases, and each phrase knows the number it follows from: what `landmark
explain` prints is what the sentence was made of.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from landmark.label_settings import CaptionRules
from landmark.taxonomy import (
    CLASSES,
    CRISIS,
    CRISIS_MASK,
    EVENT_CLASSES,
    LAND_COVER_MASK,
    names_of,
)

#: A class with at least this share of the known area is said to cover almost all of it.
ENTIRE = 0.9
#: A land-cover class with at least this share of the known area is called dominant.
DOMINANT = 0.5
#: From this share on, one that is not dominant is said to have a large share.
LARGE = 0.25
#: Below this share a class is called small.
SMALL = 0.1
#: The sun can stand overhead up to this latitude: no four seasons are told apart there.
TROPIC = 23.44
#: Days are told up to this many, then months, then years.
_MANY_DAYS, _MANY_MONTHS = 60, 720
_MONTH_DAYS, _YEAR_DAYS = 30.44, 365.25

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
#: Meteorological seasons of the north: three whole months each.
_SEASONS = ("winter", "spring", "summer", "autumn")
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
        days: Acquisition minus the event's start, or None.
    """

    type: str
    phase: str
    fraction: float
    days: float | None = None


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
        lat: Latitude of the centre, degrees; None: no season is told.
    """

    sensor: str
    time: dt.datetime
    label_mask: int
    known_mask: int
    fractions: Sequence[float]
    events: Sequence[Event] = ()
    lat: float | None = None


@dataclass(frozen=True)
class Phrase:
    """A piece of a caption.

    Attributes:
        text: As it stands in the caption, blanks and signs included.
        why: What it follows from; "" for a word that only joins others.
    """

    text: str
    why: str = ""


def caption(mask: int, template: str = "published") -> str:
    """Return the label names of a mask; "" when nothing is present.

    Args:
        mask: Classes present.
        template: `published` (joined by ". ") or `list` (by ", ").

    >>> caption(0b10011)
    'water. trees. crops'
    """
    joint = ", " if template == "list" else ". "
    return joint.join(name.lower() for name in names_of(mask))


def caption_long(facts: PatchFacts, template: str = "sentence") -> str:
    """Return one grammatical sentence on a patch; equal facts give equal words.

    Args:
        facts: What is known of the patch.
        template: As `phrases`.

    >>> caption_long(PatchFacts("s2", dt.datetime(2023, 7, 4), 0b11, 0xFFF, [.7, .05] + [0] * 10))
    'A Sentinel-2 optical image taken in July 2023 shows mostly water, with some trees.'
    """
    return "".join(phrase.text for phrase in phrases(facts, template))


def phrases(facts: PatchFacts, template: str = "sentence") -> tuple[Phrase, ...]:
    """Return the pieces of the long caption in order.

    Args:
        facts: What is known of the patch.
        template: `sentence`: time, season, events, ground and crises; `brief`: ground and crises;
            `published`: the labels.
    """
    if template == "published":
        return (Phrase(caption(facts.label_mask), "the classes present, in taxonomy order"),)
    found = [
        Phrase("A "),
        Phrase(_SENSORS[facts.sensor], f"the patch's sensor is {facts.sensor}"),
    ]
    if template == "sentence":
        found += [*_when(facts), *_event_phrases(facts.events)]
    found += [Phrase(" shows "), *_ground_phrases(facts), *_crisis_phrases(facts), Phrase(".")]
    return tuple(found)


def rendered(facts: PatchFacts, rules: CaptionRules) -> tuple[str, str]:
    """Return the short and the long caption a manifest asks for."""
    return caption(facts.label_mask, rules.short), caption_long(facts, rules.long)


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return "".join(phrase.text for phrase in _join([Phrase(word) for word in words]))


def season(time: dt.datetime, lat: float) -> str | None:
    """Return `northern summer`, `southern winter`, ...; None in the tropics."""
    if abs(lat) <= TROPIC:
        return None
    north = lat > 0
    number = (time.month % 12 // 3 + (0 if north else 2)) % 4
    return f"{'northern' if north else 'southern'} {_SEASONS[number]}"


def _when(facts: PatchFacts) -> list[Phrase]:
    day = facts.time
    month = Phrase(f"{_MONTHS[day.month - 1]} {day.year}", f"acquired on {day:%Y-%m-%d} (UTC)")
    if facts.lat is None:
        return [Phrase(" taken in "), month]
    name = season(day, facts.lat)
    where = f"latitude {facts.lat:.2f}"
    if name is None:
        tropics = Phrase("the tropics", f"{where}, within {TROPIC} degrees of the equator")
        return [Phrase(" taken in "), tropics, Phrase(" in "), month]
    why = f"{where}, month {day.month}: the meteorological season"
    return [Phrase(" taken in "), month, Phrase(", in "), Phrase(name, why)]


def _join(items: Sequence[Phrase]) -> list[Phrase]:
    joined: list[Phrase] = []
    for position, item in enumerate(items):
        if position:
            joined.append(Phrase(" and " if position == len(items) - 1 else ", "))
        joined.append(item)
    return joined


def _ground_phrases(facts: PatchFacts) -> list[Phrase]:
    present = names_of(facts.label_mask & LAND_COVER_MASK)
    if not present:
        known = facts.known_mask & LAND_COVER_MASK
        if known == LAND_COVER_MASK:
            why = "all nine land-cover classes are known to be absent"
            return [Phrase("ground of no mapped land-cover class", why)]
        some = "fully " if known else ""
        why = f"{known.bit_count()} of nine land-cover classes are decided, none is present"
        return [Phrase(f"ground whose land cover is not {some}known", why)]
    shares = {name: float(facts.fractions[CLASSES.index(name)]) for name in present}
    # Largest first; not-measured shares last, in taxonomy order (sort is stable).
    order = sorted(present, key=lambda n: math.inf if math.isnan(shares[n]) else -shares[n])
    main = [name for name in order if shares[name] >= DOMINANT]
    rest = _join([_part(name, shares[name]) for name in order if not shares[name] >= DOMINANT])
    if not main:
        return rest
    entire = shares[main[0]] >= ENTIRE
    limit = ENTIRE if entire else DOMINANT
    mostly = Phrase(
        "almost entirely " if entire else "mostly ",
        f"{_percent(shares[main[0]])} of the known area is at least {_percent(limit)}",
    )
    named = _join([Phrase(_GROUND[name], _share_text(name, shares[name])) for name in main])
    return [mostly, *named, *([Phrase(", with "), *rest] if rest else [])]


def _part(name: str, share: float) -> Phrase:
    words = _GROUND[name]
    if share < SMALL:
        return Phrase(f"some {words}", f"{_share_text(name, share)}, under {_percent(SMALL)}")
    if share >= LARGE:
        why = f"{_share_text(name, share)}, at least {_percent(LARGE)}"
        return Phrase(f"a large share of {words}", why)
    return Phrase(words, _share_text(name, share))


def _crisis_phrases(facts: PatchFacts) -> list[Phrase]:
    found = []
    for name in names_of(facts.label_mask & CRISIS_MASK):
        share = float(facts.fractions[CLASSES.index(name)])
        large, plain, small = _CRISIS_PHRASES[name]
        text = large if share >= DOMINANT else small if share < SMALL else plain
        found.append(Phrase(text, _share_text(name, share, "of the patch")))
    if not found:
        return []
    verb = " is present" if len(found) == 1 else " are present"
    return [Phrase("; "), *_join(found), Phrase(verb)]


def _event_phrases(events: Sequence[Event]) -> list[Phrase]:
    """Return `, 3 days before a flood and during a fire,`, or nothing without dated events."""
    told = []
    for phase in _PHASES:
        for kind in EVENT_CLASSES:  # in the order of their classes
            own = [e for e in events if (e.type, e.phase) == (kind, phase) and e.fraction > 0]
            if own:
                nearest = min(own, key=lambda e: math.inf if e.days is None else abs(e.days))
                told.append(_event_phrase(nearest))
    return [Phrase(", "), *_join(told), Phrase(",")] if told else []


def _event_phrase(event: Event) -> Phrase:
    name = _EVENTS[event.type]
    why = f"{_percent(event.fraction)} of the patch lies in its area"
    if event.days is None or event.phase == "during":
        return Phrase(f"{event.phase} {name}", f"{why}; the acquisition lies {event.phase} it")
    told = f"acquired {event.days:.1f} days from its first day"
    if event.phase == "after":
        return Phrase(f"{_span(event.days)} after the start of {name}", f"{why}; {told}")
    return Phrase(f"{_span(event.days)} before {name}", f"{why}; {told}")


def _span(days: float) -> str:
    """Return a span in words, rounded: `1 day`, `12 days`, `5 months`, `2 years`."""
    length = abs(days)
    for most, unit, name in (
        (_MANY_DAYS, 1.0, "day"),
        (_MANY_MONTHS, _MONTH_DAYS, "month"),
        (math.inf, _YEAR_DAYS, "year"),
    ):
        if length < most:
            number = max(1, round(length / unit))
            return f"{number} {name}{'' if number == 1 else 's'}"
    raise ValueError(f"no span of {days} days")


def _share_text(name: str, share: float, of: str = "of the known area") -> str:
    if math.isnan(share):
        return f"{name} is present, its share was not measured"
    return f"{name}: {_percent(share)} {of}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


assert tuple(_CRISIS_PHRASES) == CRISIS
