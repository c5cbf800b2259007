import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from harmonize.event_sources import read_events
from harmonize.events import Event, parse_day
from landmark.errors import InputError
from landmark.manifest import EventSource

DAY = dt.date.fromisoformat


def event(kind="fire", start="2020-07-10", end="2020-07-12", lasts=180.0):
    days = (DAY(start) if start else None, DAY(end) if end else None)
    return Event(kind, "e", *days, box(0, 0, 1, 1), None, "f", lasts)


@pytest.mark.parametrize(
    ("day", "lasts", "phase", "shows"),
    [
        ("2020-07-09", 180, "before", False),
        ("2020-07-10", 180, "during", True),
        ("2020-07-12", 180, "during", True),
        ("2020-07-13", 180, "after", True),
        ("2021-01-08", 180, "after", True),
        ("2021-01-09", 180, "after", False),
        ("2020-07-12", 0, "during", True),
        ("2020-07-13", 0, "after", False),
        ("2020-07-13", 0.5, "after", False),
        ("2020-07-13", 1, "after", True),
    ],
)
def test_phases_and_windows(day, lasts, phase, shows):
    one = event(lasts=lasts)
    assert one.phase(DAY(day)) == phase
    assert one.shows(DAY(day)) is shows


def test_undated():
    one = event(start=None, end=None)
    assert one.phase(DAY("2020-07-10")) == "undated"
    assert not one.shows(DAY("2020-07-10"))
    assert one.days_from(dt.datetime(2020, 7, 10, tzinfo=dt.UTC)) is None


def test_days_are_acquisition_minus_start():
    one = event()
    assert one.days_from(dt.datetime(2020, 7, 11, 12, tzinfo=dt.UTC)) == 1.5
    assert one.days_from(dt.datetime(2020, 7, 8, tzinfo=dt.UTC)) == -2.0


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2020-07-01", "2020-07-01"),
        ("2018/11/1", "2018-11-01"),
        ("2026-08-13 20:56:00", "2026-08-13"),
        ("2020-07-01T23:30:00-02:00", "2020-07-02"),
        ("2020-07-01T00:30:00+00:00", "2020-07-01"),
        (dt.date(2020, 7, 1), "2020-07-01"),
    ],
)
def test_dates(value, day):
    assert parse_day(value, "f") == DAY(day)


@pytest.mark.parametrize("value", ["04/05/2020", "2020", "2020-13-01", 1517961600000, "soon"])
def test_no_dates(value):
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        parse_day(value, "fires.gpkg: event 7: start")


@given(st.dates(), st.sampled_from(["-", "/"]))
def test_every_iso_day_is_read(day, sign):
    assert parse_day(day.isoformat().replace("-", sign), "f") == day


@given(st.text(max_size=30))
def test_noise_is_a_day_or_refused(text):
    try:
        day = parse_day(text, "f")
    except InputError as error:
        message = str(error)
    else:
        message = "f: " if day is None or isinstance(day, dt.date) else "no day"
    assert message.startswith("f: ")


def write(path, features):
    content = [
        {"type": "Feature", "properties": properties,
         "geometry": None if geometry is None else mapping(geometry)}
        for properties, geometry in features
    ]  # fmt: skip
    path.write_text(json.dumps({"type": "FeatureCollection", "features": content}))
    return path


def row(name, start="2020-07-10", end="2020-07-12"):
    return {"id": name, "start": start, "end": end}


def source(**fields):
    return EventSource(type="flood", file="floods.geojson", **fields)


def test_features_of_one_id_are_one_event(tmp_path):
    path = write(tmp_path / "floods.geojson", [
        (row("b"), box(0, 0, 2, 1)),
        (row("a"), box(5, 5, 6, 6)),
        (row("b", "2020-07-08", "2020-07-20"), box(1, 0, 3, 1)),
        (row("c"), None),
    ])  # fmt: skip
    looked = write(tmp_path / "looked.geojson", [({"id": "b"}, box(0, 0, 9, 9))])
    a, b = read_events(source(version="v2"), path, looked)
    assert (a.id, b.id) == ("a", "b")
    assert b.geometry.area == pytest.approx(3)
    assert (b.start, b.end) == (DAY("2020-07-08"), DAY("2020-07-20"))
    assert a.analysed is None
    assert b.analysed.area == pytest.approx(81)
    assert b.source == "floods.geojson (v2)"
    assert b.lasts_days == 0


def test_analysed_without_ids_belongs_to_all(tmp_path):
    path = write(tmp_path / "floods.geojson", [(row("a"), box(0, 0, 1, 1)),
                                               (row("b"), box(1, 1, 2, 2))])  # fmt: skip
    looked = write(tmp_path / "looked.geojson", [({"n": 1}, box(0, 0, 9, 9))])
    assert [e.analysed.area for e in read_events(source(), path, looked)] == [81, 81]


def test_fields_that_are_not_there(tmp_path):
    path = write(tmp_path / "floods.geojson", [({"nr": 1}, box(0, 0, 1, 1)),
                                               ({"nr": 1}, box(1, 1, 2, 2))])  # fmt: skip
    with pytest.raises(InputError, match=r"no attribute 'id'.*there are nr"):
        read_events(source(), path, None)
    bare = source(id_field="", start_field="", end_field="")
    first, second = read_events(bare, path, None)
    assert (first.id, second.id) == ("floods-0", "floods-1")
    assert first.start is None


def test_dates_in_the_wrong_order(tmp_path):
    path = write(tmp_path / "floods.geojson", [(row("a", "2020-07-12", "2020-07-10"),
                                                box(0, 0, 1, 1))])  # fmt: skip
    with pytest.raises(InputError, match="event a: ends on 2020-07-10"):
        read_events(source(), path, None)


def test_lasts_days_of_the_manifest(tmp_path):
    path = write(tmp_path / "floods.geojson", [(row("a", end=None), box(0, 0, 1, 1))])
    (one,) = read_events(source(lasts_days=9), path, None)
    assert (one.lasts_days, one.end) == (9, one.start)


@pytest.mark.real
def test_real_files(shared_data):
    fires = EventSource(type="fire", file="x", id_field="", start_field="start_date",
                        end_field="end_date")  # fmt: skip
    path = shared_data / "events" / "wildfire_perimeters_PT_2020_50to1500ha.gpkg"
    found = read_events(fires, path, None)
    assert len(found) == 76
    assert all(one.start.year == 2020 and one.start <= one.end for one in found)
    ems = shared_data / "ems" / "EMSR332_flood_veneto"
    stem = "EMSR332_08PORDENONE_DEL_v1"
    flood = EventSource(type="flood", file="x", id_field="event_type", start_field="", end_field="")
    (one,) = read_events(
        flood, ems / f"{stem}_observed_event_a.shp", ems / f"{stem}_area_of_interest_a.shp"
    )
    assert one.id == "5-Flood"
    assert one.analysed.contains(one.geometry.centroid)
