from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonize.captions import (
    Event,
    PatchFacts,
    caption,
    caption_long,
    join_words,
    phrases,
    rendered,
    season,
)
from landmark.label_settings import CaptionRules
from landmark.taxonomy import ALL_MASK, CLASSES, LAND_COVER_MASK, mask_of

NAN = float("nan")
JULY = dt.datetime(2023, 7, 4, tzinfo=dt.UTC)


def shares(**given_shares: float) -> list[float]:
    values = {name.lower().split()[0]: 0.0 for name in CLASSES} | given_shares
    return [values[name.lower().split()[0]] for name in CLASSES]


def facts(labels: list[str], known: int = ALL_MASK, **changes: object) -> PatchFacts:
    defaults = {"sensor": "s2", "time": JULY, "fractions": [NAN] * 12, "events": ()}
    return PatchFacts(label_mask=mask_of(labels), known_mask=known, **(defaults | changes))


def test_published_style_in_taxonomy_order() -> None:
    assert caption(mask_of(["Crops", "Water", "Trees"])) == "water. trees. crops"
    assert caption(mask_of(["Flooded Area", "Shrub and Scrub"])) == "shrub and scrub. flooded area"
    assert caption(0) == ""


@given(st.integers(0, ALL_MASK))
def test_caption_names_exactly_the_classes_present(mask: int) -> None:
    words = caption(mask).split(". ") if mask else []
    assert words == [n.lower() for i, n in enumerate(CLASSES) if mask >> i & 1]


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        (
            facts(["Trees", "Crops", "Water"], fractions=shares(trees=0.3, crops=0.6, water=0.05)),
            "A Sentinel-2 optical image taken in July 2023 shows mostly crops, with a large share "
            "of trees and some water.",
        ),
        (
            facts(["Trees", "Built"], sensor="s1"),
            "A Sentinel-1 radar image taken in July 2023 shows trees and built-up land.",
        ),
        (
            facts(["Crops", "Flooded Area"], events=[Event("flood", "during", 0.7)]),
            "A Sentinel-2 optical image taken in July 2023, during a flood, shows crops; "
            "a flooded area is present.",
        ),
        (
            facts(["Burned Area", "Earthquake Damage"], known=mask_of(CLASSES[9:])),
            "A Sentinel-2 optical image taken in July 2023 shows ground whose land cover is not "
            "known; a burned area and earthquake damage are present.",
        ),
        (
            facts([]),
            "A Sentinel-2 optical image taken in July 2023 shows ground of no mapped land-cover "
            "class.",
        ),
        (
            facts([], known=1),
            "A Sentinel-2 optical image taken in July 2023 shows ground whose land cover is not "
            "fully known.",
        ),
        (
            facts(
                ["Water"],
                events=[
                    Event("earthquake", "after", 0.2),
                    Event("flood", "after", 1.0),
                    Event("fire", "before", 0.1),
                    Event("fire", "undated", 1.0),
                    Event("flood", "before", 0.0),
                ],
            ),
            "A Sentinel-2 optical image taken in July 2023, before a fire, after a flood and after "
            "an earthquake, shows water.",
        ),
        (
            facts(
                ["Trees", "Grass", "Burned Area"],
                lat=45.0,
                fractions=shares(trees=0.93, grass=0.04, burned=0.02),
                events=[
                    Event("fire", "after", 0.2, 400.0),
                    Event("fire", "after", 0.02, 12.4),
                    Event("flood", "before", 0.3, -0.6),
                    Event("earthquake", "during", 0.3, 0.2),
                ],
            ),
            "A Sentinel-2 optical image taken in July 2023, in northern summer, 1 day before a "
            "flood, during an earthquake and 12 days after the start of a fire, shows almost "
            "entirely trees, with some grass; a small burned area is present.",
        ),
        (
            facts(["Water"], lat=-45.0, events=[Event("fire", "after", 0.1, 100.0)]),
            "A Sentinel-2 optical image taken in July 2023, in southern winter, 3 months after the "
            "start of a fire, shows water.",
        ),
        (
            facts(["Water"], lat=4.0, events=[Event("earthquake", "after", 0.1, 800.0)]),
            "A Sentinel-2 optical image taken in the tropics in July 2023, 2 years after the start "
            "of an earthquake, shows water.",
        ),
    ],
)
def test_sentences(patch: PatchFacts, sentence: str) -> None:
    assert caption_long(patch) == sentence


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["flood", "fire", "earthquake"]),
        st.sampled_from(["before", "during", "after", "undated"]),
        st.floats(0, 1),
        st.one_of(st.none(), st.floats(-4000, 4000)),
    ),
    max_size=5,
)
FACTS = st.builds(
    PatchFacts,
    sensor=st.sampled_from(["s1", "s2"]),
    time=st.datetimes(dt.datetime(2014, 1, 1), dt.datetime(2030, 1, 1)),
    label_mask=st.integers(0, ALL_MASK),
    known_mask=st.integers(0, ALL_MASK),
    fractions=st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=12, max_size=12),
    events=EVENTS,
    lat=st.one_of(st.none(), st.floats(-85, 85)),
)


def test_templates() -> None:
    patch = facts(["Trees", "Flooded Area"], lat=50.0)
    assert caption(patch.label_mask, "list") == "trees, flooded area"
    assert caption_long(patch, "published") == "trees. flooded area"
    brief = "A Sentinel-2 optical image shows trees; a flooded area is present."
    assert caption_long(patch, "brief") == brief
    rules = CaptionRules(short="list", long="brief")
    assert rendered(patch, rules) == ("trees, flooded area", brief)


@pytest.mark.parametrize(
    ("month", "lat", "name"),
    [
        (1, 50.0, "northern winter"),
        (3, 50.0, "northern spring"),
        (12, 50.0, "northern winter"),
        (12, -50.0, "southern summer"),
        (6, -24.0, "southern winter"),
        (10, -24.0, "southern spring"),
        (6, -20.0, None),
    ],
)
def test_seasons(month: int, lat: float, name: str | None) -> None:
    assert season(dt.datetime(2020, month, 15), lat) == name


@given(FACTS)
def test_every_phrase_but_joints_has_a_reason(patch: PatchFacts) -> None:
    parts = phrases(patch)
    assert "".join(part.text for part in parts) == caption_long(patch)
    joints = {"A ", " taken in ", " in ", ", in ", ", ", ",", " and ", " shows ", ", with ", "; "}
    joints |= {" is present", " are present", "."}
    assert {part.text for part in parts if not part.why} <= joints


@given(FACTS)
def test_every_sentence_is_well_formed(patch: PatchFacts) -> None:
    text = caption_long(patch)
    assert text == caption_long(patch)
    assert text.startswith("A Sentinel-")
    assert text.endswith(".")
    assert text.count(".") == 1
    assert not re.search(r"  | ,|,,|,\.|;\.|, and| and and |\ba e|\ban [^aeiou]", text)
    assert text.count(" shows ") == 1
    # The verb agrees with the number of crisis phrases.
    crisis = bin(patch.label_mask >> 9).count("1")
    assert (" is present." in text) == (crisis == 1)
    assert (" are present." in text) == (crisis > 1)
    if not patch.label_mask & LAND_COVER_MASK:
        known = patch.known_mask & LAND_COVER_MASK
        assert ("not known" in text) == (known == 0)
        assert ("no mapped" in text) == (known == LAND_COVER_MASK)
    else:
        assert "known" not in text


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5))
def test_join_has_one_and(words: list[str]) -> None:
    text = join_words(words)
    assert text.count(" and ") == (len(words) > 1)
    assert text.replace(" and ", ", ").split(", ") == words
