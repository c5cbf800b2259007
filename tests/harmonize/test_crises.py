import datetime as dt

import numpy as np
import pytest
from pyproj import Transformer
from shapely import box, transform

from harmonize.crises import find_touches, judge, judge_all, verdicts
from harmonize.events import Event
from landmark.grid import Frame
from landmark.manifest import LabelRules
from landmark.taxonomy import CLASSES, bit

FRAME = Frame("f", 32632, 500_400.0, 5_200_800.0)
UNKNOWN, ABSENT, PRESENT = (False, False), (True, False), (True, True)
BEFORE, DURING, AFTER, LATE = "2020-06-01", "2020-07-11", "2020-08-01", "2022-08-01"


def area(west, north, width, height):
    """A box in the frame, m from its upper-left corner, in longitude and latitude."""
    x, y = FRAME.x_min + west, FRAME.y_max - north
    back = Transformer.from_crs(32632, "OGC:CRS84", always_xy=True)
    return transform(box(x, y - height, x + width, y),
                     lambda xy: np.column_stack(back.transform(*xy.T)))  # fmt: skip


WHOLE, HALF, THIRD = area(-99, -99, 1500, 1500), area(0, 0, 1200, 601), area(0, 0, 1200, 400)
BIG, SMALL, BESIDE = area(0, 0, 300, 300), area(0, 0, 50, 50), area(3000, 0, 300, 300)


def event(geometry, analysed, start="2020-07-10", kind="fire", name="e", lasts=180.0):
    first = dt.date.fromisoformat(start) if start else None
    last = first + dt.timedelta(days=2) if first else None
    return Event(kind, name, first, last, geometry, analysed, "f", lasts)


def touches(events, day):
    when = dt.datetime.fromisoformat(f"{day}T10:00:00+00:00")
    return find_touches(events, [FRAME], [when])[0]


def decide(events, day, **rules):
    verdict = judge(touches(events, day), LabelRules(**rules))
    return verdict.known, verdict.present


@pytest.mark.parametrize(
    ("geometry", "analysed", "day", "unknown_rule", "absent_rule"),
    [
        # Looked at, and the event covers much, little or nothing of the patch.
        (BIG, WHOLE, BEFORE, ABSENT, ABSENT),
        (BIG, WHOLE, DURING, PRESENT, PRESENT),
        (BIG, WHOLE, AFTER, PRESENT, PRESENT),
        (BIG, WHOLE, LATE, UNKNOWN, UNKNOWN),
        (SMALL, WHOLE, DURING, ABSENT, ABSENT),
        (BESIDE, WHOLE, DURING, ABSENT, ABSENT),
        (BESIDE, WHOLE, LATE, UNKNOWN, UNKNOWN),
        # Half of the patch is the least to be called looked at.
        (SMALL, HALF, DURING, ABSENT, ABSENT),
        (SMALL, THIRD, DURING, UNKNOWN, UNKNOWN),
        (BIG, THIRD, DURING, PRESENT, PRESENT),
        (BIG, THIRD, BEFORE, UNKNOWN, ABSENT),
        # Nobody said where they looked: the polygons are all that is known.
        (BIG, None, DURING, PRESENT, PRESENT),
        (BIG, None, BEFORE, UNKNOWN, ABSENT),
        (WHOLE, None, BEFORE, ABSENT, ABSENT),
        (SMALL, None, DURING, UNKNOWN, UNKNOWN),
        (BESIDE, None, DURING, UNKNOWN, ABSENT),
        (BESIDE, BESIDE, LATE, UNKNOWN, ABSENT),
    ],
)
def test_one_event(geometry, analysed, day, unknown_rule, absent_rule):
    events = [event(geometry, analysed)]
    assert decide(events, day) == unknown_rule
    assert decide(events, day, outside_events="absent") == absent_rule


def test_no_event_at_all():
    assert decide([], DURING) == UNKNOWN
    assert decide([], DURING, outside_events="absent") == ABSENT


def test_an_event_without_date_decides_nothing():
    events = [event(BIG, WHOLE, start=None)]
    assert decide(events, DURING, outside_events="absent") == UNKNOWN
    assert touches(events, DURING)[0].phase == "undated"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([event(BIG, WHOLE, "2020-07-10")], PRESENT),
        ([event(BESIDE, WHOLE, "2020-07-10")], ABSENT),
        ([event(BIG, WHOLE, "2015-07-10")], UNKNOWN),
        ([event(BIG, WHOLE, "2021-07-10")], UNKNOWN),
    ],
)
def test_an_old_event_and_another(others, expected):
    old = event(BIG, WHOLE, "2018-07-10", name="old")
    assert decide([old, *others], DURING) == expected


def test_share_or_hectares_are_enough():
    # 70 x 70 m = 0.49 ha, 0.34 %; 80 x 80 m = 0.64 ha, 0.44 %.
    for size, expected in ((70, ABSENT), (80, PRESENT)):
        events = [event(area(0, 0, size, size), WHOLE)]
        assert decide(events, DURING) == expected
        assert decide(events, DURING, event_hectares=100) == ABSENT
        assert decide(events, DURING, event_hectares=100, event_share=0.003) == PRESENT
    assert decide([event(BESIDE, WHOLE)], DURING, event_hectares=0, event_share=0) == ABSENT


def test_overlapping_events_do_not_count_twice():
    events = [event(area(0, 0, 600, 600), WHOLE, name="a"),
              event(area(300, 0, 600, 600), WHOLE, name="b")]  # fmt: skip
    verdict = judge(touches(events, DURING), LabelRules())
    assert verdict.fraction == pytest.approx(540_000 / 1_440_000, rel=1e-6)


def test_records():
    events = [event(BIG, WHOLE), event(BESIDE, HALF, kind="flood", name="g", lasts=0)]
    fire, flood = (touch.to_record() for touch in touches(events, DURING))
    assert (fire["type"], fire["id"], fire["phase"]) == ("fire", "e", "during")
    assert (fire["start"], fire["end"]) == ("2020-07-10", "2020-07-12")
    assert fire["fraction"] == pytest.approx(0.0625, rel=1e-6)
    assert fire["analysed_fraction"] == pytest.approx(1)
    assert fire["days"] == pytest.approx(1 + 10 / 24)
    assert flood["fraction"] == 0
    assert flood["analysed_fraction"] == pytest.approx(601 / 1200, rel=1e-6)


def test_days_are_compared_in_utc():
    late = dt.datetime.fromisoformat("2020-07-09T23:30:00-02:00")
    touch = find_touches([event(BIG, None)], [FRAME], [late])[0][0]
    assert touch.phase == "during"


def test_classes_of_patches():
    far = Frame("far", 32736, 500_400.0, 7_600_400.0)
    when = dt.datetime.fromisoformat(f"{DURING}T10:00:00+00:00")
    events = [event(BIG, WHOLE), event(SMALL, WHOLE, kind="flood", name="g")]
    classes = judge_all(find_touches(events, [FRAME, far], [when, when]), LabelRules())
    assert classes.label_mask.tolist() == [bit("Burned Area"), 0]
    assert classes.known_mask.tolist() == [bit("Burned Area") | bit("Flooded Area"), 0]
    assert np.isnan(classes.fractions[1]).all()
    burned, flooded, quake = (classes.fractions[0, CLASSES.index(name)] for name in
                              ("Burned Area", "Flooded Area", "Earthquake Damage"))  # fmt: skip
    assert burned == pytest.approx(0.0625, rel=1e-6)
    assert flooded == pytest.approx(2500 / 1_440_000, rel=1e-6)
    assert np.isnan(quake)
    assert set(verdicts([], LabelRules())) == {"Burned Area", "Flooded Area", "Earthquake Damage"}
