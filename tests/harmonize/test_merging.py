import numpy as np
import pytest

from harmonize.corine import CLC_CODES
from harmonize.crosswalks import load_crosswalk
from harmonize.dynamic_world import LABELS
from harmonize.merging import (
    Classes,
    Evidence,
    class_shares,
    combine,
    merge_land_cover,
    native_labels,
    source_record,
)
from landmark.rasters import Counts
from landmark.taxonomy import CLASSES, LAND_COVER_MASK, bit, mask_of, names_of


def evidence(kind, patches, threshold, crosswalk=None):
    """Evidence from one {code: pixels} per patch."""
    codes = sorted({code for patch in patches for code in patch})
    counts = np.array([[patch.get(c, 0) for c in codes] for patch in patches], np.int32)
    counts = counts.reshape(len(patches), len(codes))
    known = CLC_CODES if kind == "corine" else LABELS
    return Evidence(
        kind,
        "clc" if kind == "corine" else "dw",
        "v1",
        load_crosswalk(crosswalk or kind, kind, known),
        threshold,
        Counts(np.array(codes, np.int32), counts, counts.sum(axis=1, dtype=np.int32)),
    )


def share(classes, row, name):
    return classes.fractions[row, CLASSES.index(name)]


def test_shares_are_of_the_known_half():
    found = evidence("dynamic-world", [{1: 3600, 4: 3600}], 0.02)
    classes = merge_land_cover([found], 1, 0.25)
    assert share(classes, 0, "Trees") == share(classes, 0, "Crops") == 0.5
    assert classes.known_mask.tolist() == [LAND_COVER_MASK]
    assert names_of(int(classes.label_mask[0])) == ("Trees", "Crops")
    assert np.isnan(classes.fractions[0, 9:]).all()


def test_uncovered_is_unknown():
    found = evidence("dynamic-world", [{}, {1: 3599}, {1: 3600}], 0.02)
    classes = merge_land_cover([found], 3, 0.25)
    assert classes.known_mask.tolist() == [0, 0, LAND_COVER_MASK]
    assert classes.label_mask.tolist() == [0, 0, bit("Trees")]
    assert np.isnan(classes.fractions[:2]).all()
    assert merge_land_cover([], 2, 0.25).known_mask.tolist() == [0, 0]


def test_the_first_source_that_covers_enough_decides():
    world = evidence("dynamic-world", [{0: 14400}, {0: 3000}, {0: 3000}], 0.02)
    corine = evidence("corine", [{311: 14400}, {311: 14400}, {}], 0.05)
    classes = merge_land_cover([world, corine], 3, 0.25)
    assert [names_of(int(mask)) for mask in classes.label_mask] == [("Water",), ("Trees",), ()]
    assert classes.known_mask.tolist() == [LAND_COVER_MASK, LAND_COVER_MASK, 0]


@pytest.mark.parametrize(("pixels", "present"), [(719, False), (720, True), (721, True)])
def test_threshold(pixels, present):
    found = evidence("corine", [{512: pixels, 311: 14400 - pixels}], 0.05)
    mask = int(merge_land_cover([found], 1, 0.25).label_mask[0])
    assert ("Water" in names_of(mask)) is present


def test_weights_split_a_mosaic():
    """A quarter of 243: 12.5 % crops, 5 % trees, 3.75 % shrub and grass; the rest is sea."""
    found = evidence("corine", [{243: 3600, 523: 10800}], 0.05)
    shares = class_shares(found)[0]
    expected = {"Water": 0.75, "Crops": 0.125, "Trees": 0.05, "Shrub and Scrub": 0.0375,
                "Grass": 0.0375}  # fmt: skip
    for name, value in expected.items():
        assert shares[CLASSES.index(name)] == pytest.approx(value)
    mask = int(merge_land_cover([found], 1, 0.25).label_mask[0])
    assert mask == mask_of(["Water", "Crops", "Trees"])


def test_a_code_of_no_class_is_known_ground():
    found = evidence("corine", [{334: 14400}, {334: 7200, 311: 7200}], 0.05)
    classes = merge_land_cover([found], 2, 0.25)
    assert classes.known_mask.tolist() == [LAND_COVER_MASK] * 2
    assert classes.label_mask.tolist() == [0, bit("Trees")]
    assert share(classes, 1, "Trees") == 0.5
    assert classes.fractions[0, :9].sum() == 0


def test_the_published_burned_area_is_never_known_absent():
    found = evidence("corine", [{334: 1440, 311: 12960}, {311: 14400}], 0.05, "corine-published")
    classes = merge_land_cover([found], 2, 0.25)
    burned = bit("Burned Area")
    assert classes.label_mask.tolist() == [burned | bit("Trees"), bit("Trees")]
    assert classes.known_mask.tolist() == [LAND_COVER_MASK | burned, LAND_COVER_MASK]
    assert share(classes, 0, "Burned Area") == pytest.approx(0.1)
    assert np.isnan(share(classes, 1, "Burned Area"))


def test_combine():
    def one(label, known, **shares):
        fractions = np.full((1, 12), np.nan)
        for name, value in shares.items():
            fractions[0, CLASSES.index(name.replace("_", " "))] = value
        return Classes(np.array([label], np.uint16), np.array([known], np.uint16), fractions)

    burned, flooded = bit("Burned Area"), bit("Flooded Area")
    land = one(burned | 2, burned | LAND_COVER_MASK, Burned_Area=0.1, Trees=0.9)
    crisis = one(0, burned | flooded, Burned_Area=0.0, Flooded_Area=0.0)
    both = combine(land, crisis)
    assert both.label_mask.tolist() == [burned | 2]
    assert both.known_mask.tolist() == [burned | flooded | LAND_COVER_MASK]
    assert share(both, 0, "Burned Area") == 0.1
    assert share(both, 0, "Flooded Area") == 0
    assert np.isnan(share(both, 0, "Earthquake Damage"))


def test_native_labels_are_every_code_of_every_source():
    world = evidence("dynamic-world", [{0: 1, 8: 14399}, {1: 5}], 0.02)
    corine = evidence("corine", [{334: 3}, {}], 0.05)
    assert native_labels([world, corine], 0) == ["dw:0", "dw:8", "clc:334"]
    assert native_labels([world, corine], 1) == ["dw:1"]
    assert native_labels([corine, corine], 0) == ["clc:334"]
    record = source_record(corine, 0)
    assert record["covered_fraction"] == pytest.approx(3 / 14400)
    assert record["confidence"] is None
    assert record["crosswalk"] == "corine"


def test_present_implies_known_and_shares_sum_to_at_most_one():
    rng = np.random.default_rng(0)
    patches = []
    for _ in range(60):
        cuts = np.sort(rng.integers(0, 14401, 5))
        codes = rng.choice(CLC_CODES, 4, replace=False)
        patches.append(dict(zip(codes.tolist(), np.diff(cuts).tolist(), strict=True)))
    for crosswalk in ("corine", "corine-published"):
        classes = merge_land_cover([evidence("corine", patches, 0.05, crosswalk)], 60, 0.25)
        assert not (classes.label_mask & ~classes.known_mask).any()
        known = ~np.isnan(classes.fractions[:, 0])
        assert (classes.fractions[known, :9].sum(axis=1) <= 1 + 1e-9).all()
        assert known.tolist() == (classes.known_mask & 1).astype(bool).tolist()
