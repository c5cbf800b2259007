from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from landmark.errors import InputError
from landmark.manifest import Area, Period
from landmark.stac_items import (
    acquired,
    footprint,
    in_area,
    in_period,
    interval,
    open_area,
    parse_moment,
)
from tests.landmark.made_scenes import item


def test_datetime_or_the_middle_of_start_and_end() -> None:
    assert acquired(item("a", datetime="2023-07-04T10:10:31.024Z")) == "2023-07-04T10:10:31Z"
    assert acquired(item("a", datetime="2023-07-04T12:10:31+02:00")) == "2023-07-04T10:10:31Z"
    span = item(
        "a",
        datetime=None,
        start_datetime="2019-09-17T00:00:00Z",
        end_datetime="2019-09-17 23:59:59+00:00",
    )
    assert acquired(span) == "2019-09-17T11:59:59Z"
    assert interval(span)[1] - interval(span)[0] == dt.timedelta(hours=23, minutes=59, seconds=59)


def test_items_without_time_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="item a: states neither datetime"):
        acquired(item("a", datetime=None))
    with pytest.raises(InputError, match="item a: 'soon' is no ISO 8601"):
        acquired(item("a", datetime="soon"))
    with pytest.raises(InputError, match="item a: 5 is no ISO 8601"):
        interval(item("a", datetime=5))


def test_both_days_of_a_period_are_included() -> None:
    period = Period(start=dt.date(2023, 7, 4), end=dt.date(2023, 7, 5))
    inside = ["2023-07-04T00:00:00Z", "2023-07-05T23:59:59Z", "2023-07-06T01:00:00+02:00"]
    outside = ["2023-07-03T23:59:59Z", "2023-07-06T00:00:00Z", "2023-07-04T01:00:00+02:00"]
    assert all(in_period(item("a", datetime=t), period) for t in inside)
    assert not any(in_period(item("a", datetime=t), period) for t in outside)
    span = {"start_datetime": "2023-07-01T00:00:00Z", "end_datetime": "2023-07-04T01:00:00Z"}
    assert in_period(item("a", datetime=None, **span), period)
    assert in_period(item("a", datetime="1999-01-01T00:00:00Z"), None)


def test_naive_times_count_as_utc() -> None:
    assert parse_moment("2023-07-04T10:00:00") == dt.datetime(2023, 7, 4, 10, tzinfo=dt.UTC)


def test_an_item_touches_the_area_by_its_geometry_not_its_bbox() -> None:
    one = item("a")
    triangle = shapely.Polygon([(10, 45), (11, 45), (10, 46)])
    one |= {"geometry": shapely.geometry.mapping(triangle), "bbox": [10, 45, 11, 46]}
    corner = open_area(Area(bbox=(10.8, 45.8, 11.2, 46.2)))
    assert not in_area(one, corner)
    assert in_area(one | {"geometry": None}, corner)
    assert footprint(one | {"geometry": None, "bbox": [10, 45, 0, 11, 46, 9]}) == shapely.box(
        10, 45, 11, 46
    )
    assert in_area(one | {"geometry": None, "bbox": None}, corner)


def test_area_files(tmp_path: Path) -> None:
    ring = shapely.Polygon([(10, 45), (11, 45), (10, 46)])
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(ring)}]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    area = open_area(Area(file=str(path)))
    assert area is not None
    assert area.contains(np.array([10.2, 10.9]), np.array([45.2, 45.9])).tolist() == [True, False]
    path.write_text("nonsense")
    with pytest.raises(InputError, match=r"area\.file: .*cannot be read"):
        open_area(Area(file=str(path)))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(InputError, match=r"area\.file"):
        open_area(Area(file=str(path)))


def test_a_box_holds_its_own_edge() -> None:
    area = open_area(Area(bbox=(10, 45, 11, 46)))
    assert area is not None
    assert area.contains(np.array([10.0, 11.0, 11.001]), np.array([45.0, 46.0, 45.5])).tolist() == [
        True,
        True,
        False,
    ]
