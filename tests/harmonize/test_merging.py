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
    confidences,
    deciders,
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


def three():
    """Three maps of four patches: at one, at odds, one missing, none."""
    a = evidence("dynamic-world", [{1: 14400}, {1: 7200, 4: 7200}, {1: 14400}, {}], 0.02)
    b = evidence("corine", [{311: 14400}, {311: 14400}, {}, {}], 0.05)
    c = evidence("dynamic-world", [{1: 14400}, {4: 14400}, {}, {}], 0.02)
    return [a, b, c]


@pytest.mark.parametrize(
    ("merge", "labels", "unknown"),
    [
        ("priority", ("Trees", "Crops"), ()),
        ("union", ("Trees", "Crops"), ()),
        ("agreement", (), ("Trees", "Crops")),
    ],
)
def test_rules_for_sources_at_odds(merge, labels, unknown):
    classes = merge_land_cover(three(), 4, 0.25, merge)
    assert names_of(int(classes.label_mask[0])) == ("Trees",)
    assert names_of(int(classes.label_mask[1])) == labels
    assert names_of(int(~classes.known_mask[1] & LAND_COVER_MASK)) == unknown
    assert names_of(int(classes.label_mask[2])) == ("Trees",)
    assert classes.known_mask.tolist()[0] == classes.known_mask.tolist()[2] == LAND_COVER_MASK
    assert classes.known_mask[3] == 0
    shares = {"priority": 0.5, "union": 0.5, "agreement": None}[merge]
    if shares is None:
        assert np.isnan(share(classes, 1, "Trees"))
    else:
        assert share(classes, 1, "Trees") == pytest.approx(shares)
    assert np.nansum(classes.fractions[:, :9], axis=1).max() <= 1 + 1e-9


def test_confidence_is_what_the_other_sources_bear_out():
    trust = confidences(three(), 0.25)
    # Patch 1: all three differ from each other in one class or two of nine.
    assert trust[:, 0].tolist() == [1, 1, 1]
    expected = [(8 / 9 + 8 / 9) / 2, (8 / 9 + 7 / 9) / 2, (8 / 9 + 7 / 9) / 2]
    np.testing.assert_allclose(trust[:, 1], expected)
    assert np.isnan(trust[:, 2:]).all()
    record = source_record(three()[0], 1, trust[0, 1])
    assert record["confidence"] == pytest.approx(8 / 9)


def test_deciders_name_the_source_each_class_comes_from():
    sources = three()
    classes = merge_land_cover(sources, 4, 0.25)
    taken = deciders(sources, classes, 0.25, "priority")
    assert taken[1, :9].tolist() == [0] * 9
    assert taken[3].tolist() == [-1] * 12
    union = merge_land_cover(sources[1:], 4, 0.25, "union")
    taken = deciders(sources[1:], union, 0.25, "union")
    assert (taken[1, 1], taken[1, 4]) == (0, 1)


def tags(names, complete, undecided=0):
    crosswalk = load_crosswalk("corine", "corine")
    codes = np.array(crosswalk.codes(), np.int32)
    counts = np.array([[c in own for c in codes] for own in names], np.int32)
    covered = np.where(counts.any(axis=1), 14400, 0).astype(np.int32)
    return Evidence("table", "clc", "", crosswalk, 0, Counts(codes, counts, covered), True,
                    complete, undecided)  # fmt: skip


def test_tags_decide_by_weight_and_give_no_share():
    """243 is half crops; its trees, grass and shrub may be there or not."""
    classes = merge_land_cover([tags([{243}, {311, 243}, set()], True)], 3, 0.25)
    assert [names_of(int(m)) for m in classes.label_mask] == [("Crops",), ("Trees", "Crops"), ()]
    open_ones = mask_of(["Trees", "Grass", "Shrub and Scrub"])
    assert classes.known_mask[0] == LAND_COVER_MASK & ~open_ones
    assert classes.known_mask[1] == LAND_COVER_MASK & ~mask_of(["Grass", "Shrub and Scrub"])
    assert classes.known_mask[2] == 0
    assert np.isnan(classes.fractions).all()
    loose = merge_land_cover([tags([{243}], False)], 1, 0.25)
    assert loose.known_mask.tolist() == [bit("Crops")]
    part = merge_land_cover([tags([{311}], True, bit("Built"))], 1, 0.25)
    assert not part.known_mask[0] & bit("Built")
    # A map behind the tags decides what they leave open, with its shares.
    world = evidence("dynamic-world", [{2: 7200, 4: 7200}], 0.02)
    both = merge_land_cover([tags([{243}], True), world], 1, 0.25)
    assert names_of(int(both.label_mask[0])) == ("Grass", "Crops")
    assert share(both, 0, "Grass") == 0.5
    assert np.isnan(share(both, 0, "Crops"))
