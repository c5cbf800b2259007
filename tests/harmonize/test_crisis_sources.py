"""Perimeters, USGS and dense masks as events; and one table of what they say over time."""

import datetime as dt
import json

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from harmonize.crises import find_touches, judge, judge_all
from harmonize.event_sources import read_events
from harmonize.events import Event
from harmonize.land_cover import Patches, gather_evidence, open_source
from harmonize.merging import combine, merge_land_cover
from landmark.errors import InputError
from landmark.grid import Frame, utm_cell, utm_frame
from landmark.label_settings import EventSource, LabelRules, LabelSource
from landmark.sources import Roots
from landmark.taxonomy import CLASSES, bit, names_of

DAY = dt.date.fromisoformat
FRAME = Frame("f", 32632, 500_400.0, 5_200_800.0)


def noon(day):
    return dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")


def area(west, north, width, height):
    """A box in the frame, m from its upper-left corner, in longitude and latitude."""
    x, y = FRAME.x_min + west, FRAME.y_max - north
    back = Transformer.from_crs(32632, "OGC:CRS84", always_xy=True)
    return shapely.transform(
        shapely.box(x, y - height, x + width, y), lambda xy: np.column_stack(back.transform(*xy.T))
    )


WHOLE, BIG, BESIDE = area(-99, -99, 1500, 1500), area(0, 0, 300, 300), area(3000, 0, 300, 300)


def event(geometry, analysed, start, end=None, kind="flood", name="e", lasts=0.0, prior=False):
    first = DAY(start) if start else None
    last = DAY(end) if end else first
    return Event(kind, name, first, last, geometry, analysed, "f", lasts, prior)


FLOOD = event(BIG, WHOLE, "2020-07-10", "2020-07-12")
FIRE = event(BIG, WHOLE, "2020-07-10", kind="fire", lasts=180.0)
QUAKE = event(BIG, WHOLE, "2020-07-10", kind="earthquake", lasts=365.0)
UNDATED = event(BIG, WHOLE, None)
SECOND = event(BIG, WHOLE, "2020-07-20", name="second")
OUTSIDE = event(BESIDE, BESIDE, "2020-07-10")
POLYGONS_ONLY = event(BIG, None, "2020-07-10")
SHAKEN = event(WHOLE, None, "2020-07-10", kind="earthquake", lasts=365.0, prior=True)
ELSEWHERE = event(BESIDE, None, "2020-07-10", kind="earthquake", lasts=365.0, prior=True)


@pytest.mark.parametrize(
    ("events", "day", "label", "known", "known_if_absent", "phase", "days"),
    [
        # Flood: days.
        ([FLOOD], "2020-07-09", False, True, True, "before", -0.5),
        ([FLOOD], "2020-07-10", True, True, True, "during", 0.5),
        ([FLOOD], "2020-07-12", True, True, True, "during", 2.5),
        ([FLOOD], "2020-07-13", False, False, False, "after", 3.5),
        # Burn: months; damage: until stated.
        ([FIRE], "2020-07-09", False, True, True, "before", -0.5),
        ([FIRE], "2021-01-06", True, True, True, "after", 180.5),
        ([FIRE], "2021-01-07", False, False, False, "after", 181.5),
        ([QUAKE], "2021-07-10", True, True, True, "after", 365.5),
        ([QUAKE], "2021-07-11", False, False, False, "after", 366.5),
        # No date, two events, nobody looked here, nobody said where they looked, no event.
        ([UNDATED], "2020-07-10", False, False, False, "undated", None),
        ([FLOOD, SECOND], "2020-07-20", True, True, True, "after", 10.5),
        ([FLOOD, SECOND], "2020-07-15", False, False, False, "after", 5.5),
        ([OUTSIDE], "2020-07-10", False, False, True, None, None),
        ([POLYGONS_ONLY], "2020-07-09", False, False, True, "before", -0.5),
        ([POLYGONS_ONLY], "2020-07-10", True, True, True, "during", 0.5),
        ([], "2020-07-10", False, False, True, None, None),
        # Shaking is no damage, and hides whether there is any; a map of the damage decides.
        ([SHAKEN], "2020-07-09", False, False, True, "before", -0.5),
        ([SHAKEN], "2020-07-11", False, False, False, "after", 1.5),
        ([ELSEWHERE], "2020-07-11", False, False, True, None, None),
        ([SHAKEN, QUAKE], "2020-07-11", True, True, True, "after", 1.5),
    ],
)
def test_over_time(events, day, label, known, known_if_absent, phase, days):
    touches = find_touches(events, [FRAME], [noon(day)])[0]
    for outside, expected in (("unknown", known), ("absent", known_if_absent)):
        verdict = judge(touches, LabelRules(outside_events=outside))
        assert (verdict.present, verdict.known) == (label, expected)
    assert (touches[0].phase if touches else None) == phase
    assert (touches[0].days if touches else None) == days


def write(path, rows, crs="EPSG:4326"):
    geopandas.GeoDataFrame(rows, geometry="geometry", crs=crs).to_file(path, driver="GeoJSON")
    return path


def source(**fields):
    return EventSource(**({"file": "x"} | fields))


def test_effis_perimeters(tmp_path):
    """All values are text, as the WFS gives them."""
    rows = [
        {"id": "7", "FIREDATE": "2026-08-13 20:56:00", "FINALDATE": "2026-08-15 11:00:00",
         "AREA_HA": "12", "geometry": BIG},
        {"id": "7", "FIREDATE": "2026-08-12 10:00:00", "FINALDATE": None, "AREA_HA": "3",
         "geometry": BESIDE},
    ]  # fmt: skip
    (fire,) = read_events(source(kind="effis"), write(tmp_path / "e.geojson", rows))
    assert (fire.type, fire.id, fire.start, fire.end) == (
        "fire",
        "7",
        DAY("2026-08-12"),
        DAY("2026-08-15"),
    )
    assert fire.geometry.area == pytest.approx(BIG.area + BESIDE.area)
    assert fire.lasts_days == 180
    with pytest.raises(InputError, match="no attribute EVENT_ID, which mtbs perimeters have"):
        read_events(source(kind="mtbs"), tmp_path / "e.geojson")


def test_mtbs_perimeters(tmp_path):
    rows = [{"Event_ID": name, "Incid_Type": kind, "Ig_Date": "2018/11/08", "geometry": BIG}
            for name, kind in (("CA1", "WF"), ("CA2", "Rx"))]  # fmt: skip
    path = write(tmp_path / "m.geojson", rows, "EPSG:4269")
    both = read_events(source(kind="mtbs"), path)
    assert [(f.id, f.start, f.end) for f in both] == [(n, DAY("2018-11-08"), DAY("2018-11-08"))
                                                      for n in ("CA1", "CA2")]  # fmt: skip
    assert [f.id for f in read_events(source(kind="mtbs", prescribed=False), path)] == ["CA1"]


def test_generic_polygons_and_points_with_types(tmp_path):
    rows = [{"id": "a", "what": "Flood", "start": "2020-01-02", "end": None, "geometry": BIG},
            {"id": "b", "what": "fire", "start": None, "end": None,
             "geometry": shapely.Point(BIG.centroid)}]  # fmt: skip
    path = write(tmp_path / "g.geojson", rows)
    typed = source(type_field="what", radius_m=100, event_date=DAY("2019-05-05"))
    flood, fire = read_events(typed, path)
    assert (flood.type, flood.start) == ("flood", DAY("2020-01-02"))
    assert (fire.type, fire.start, fire.end) == ("fire", DAY("2019-05-05"), DAY("2019-05-05"))
    (touch,) = find_touches([fire], [FRAME], [noon("2019-05-05")])[0]
    assert touch.area == pytest.approx(np.pi * 100**2, rel=0.02)
    rows[0]["what"] = "landslide"
    with pytest.raises(InputError, match="feature 0: what is 'landslide', not flood, fire"):
        read_events(typed, write(tmp_path / "h.geojson", rows))


@pytest.mark.real
def test_real_comcat_is_a_prior(shared_data):
    path = shared_data / "events" / "usgs_all_week_20180207_M3.5plus.geojson"
    quakes = read_events(source(kind="comcat", min_magnitude=6.0), path)
    raw = [f for f in json.loads(path.read_text())["features"] if f["properties"]["mag"] >= 6]
    assert sorted(q.id for q in quakes) == sorted(f["id"] for f in raw)
    assert all(q.prior and q.type == "earthquake" and q.lasts_days == 365 for q in quakes)
    days = {q.id: q.start for q in quakes}
    for feature in raw:
        moment = dt.datetime.fromtimestamp(feature["properties"]["time"] / 1000, dt.UTC)
        assert days[feature["id"]] == moment.date()
    assert len(read_events(source(kind="comcat"), path)) > len(quakes)


GRID = """<?xml version="1.0"?><shakemap_grid event_id="us1">
<event event_id="us1" magnitude="6.1" event_timestamp="2018-02-06T15:50:43UTC" lat="24" lon="121"/>
<grid_specification lon_min="121.0" lat_min="23.0" lon_max="121.3" lat_max="23.2"
 nlon="4" nlat="3" />
<grid_field index="1" name="LON" units="dd" /><grid_field index="2" name="LAT" units="dd" />
<grid_field index="3" name="MMI" units="intensity" />
<grid_data>
{}
</grid_data></shakemap_grid>
"""


def test_shakemap_grid(tmp_path):
    cells = [(121 + c / 10, 23.2 - r / 10, 7.0 if (r, c) in ((0, 0), (0, 1)) else 4.0)
             for r in range(3) for c in range(4)]  # fmt: skip
    path = tmp_path / "grid.xml"
    path.write_text(GRID.format("\n".join(" ".join(map(str, cell)) for cell in cells)))
    (quake,) = read_events(source(kind="shakemap"), path)
    assert (quake.id, quake.start, quake.prior) == ("us1", DAY("2018-02-06"), True)
    assert quake.geometry.bounds == pytest.approx((120.95, 23.15, 121.15, 23.25))
    assert read_events(source(kind="shakemap", min_mmi=8), path)[0].geometry.is_empty
    path.write_text(GRID.format("1 2"))
    with pytest.raises(InputError, match="grid does not hold what it states"):
        read_events(source(kind="shakemap"), path)
    path.write_text("<xml/>")
    with pytest.raises(InputError, match=r"no ShakeMap grid\.xml"):
        read_events(source(kind="shakemap"), path)


def test_shakemap_contours(tmp_path):
    rings = [{"value": v, "geometry": shapely.box(10 - v, 40 - v, 10 + v, 40 + v).exterior}
             for v in (5.0, 6.0)]  # fmt: skip
    for row in rings:
        half = row["value"] - 4  # the stronger, the smaller
        row["geometry"] = shapely.box(10 - 1 / half, 40, 10 + 1 / half, 41).exterior
    path = write(tmp_path / "cont_mmi.json", rings)
    (quake,) = read_events(source(kind="shakemap", event_date=DAY("2020-01-01")), path)
    assert quake.geometry.area == pytest.approx(1.0)
    assert quake.start == DAY("2020-01-01")
    line = [{"value": 7.0, "geometry": shapely.LineString([(0, 0), (1, 1)])}]
    with pytest.raises(InputError, match="are open"):
        read_events(source(kind="shakemap"), write(tmp_path / "open.json", line))


def mask_of_frame(path, picture, frame=FRAME):
    with rasterio.open(path, "w", driver="GTiff", width=120, height=120, count=1, dtype="int16",
                       crs=f"EPSG:{frame.epsg}",
                       transform=Affine(*frame.transform())) as dataset:  # fmt: skip
        dataset.write(picture.astype("int16"), 1)
    return path


def test_dense_masks(tmp_path):
    picture = np.zeros((120, 120))
    picture[:30], picture[30:60] = 1, -1
    path = mask_of_frame(tmp_path / "m.tif", picture)
    water = np.zeros((120, 120))
    water[:10], water[10:20] = 80, 0
    permanent = mask_of_frame(tmp_path / "w.tif", water)
    flood = source(kind="mask", type="flood", event_date=DAY("2020-07-10"))
    events = read_events(flood, path)
    far = Frame("g", 32632, 600_000.0, 5_200_800.0)
    (touch,), none = find_touches(events, [FRAME, far], [noon("2020-07-10")] * 2)
    assert (touch.fraction, touch.analysed_fraction, none) == (0.25, 0.75, [])
    assert judge([touch], LabelRules()).present
    (touch,) = find_touches(
        read_events(flood, path, None, permanent), [FRAME], [noon("2020-07-10")]
    )[0]
    assert touch.fraction == pytest.approx(20 / 120)
    # Two sources on the same flood are united, not added.
    both = find_touches([*events, event(area(0, 0, 1200, 600), None, "2020-07-10")], [FRAME],
                        [noon("2020-07-10")])[0]  # fmt: skip
    assert judge(both, LabelRules()).fraction == pytest.approx(0.5, rel=1e-4)
    picture[0, 0] = 7
    odd = mask_of_frame(tmp_path / "odd.tif", picture)
    with pytest.raises(InputError, match=r"odd\.tif: holds code 7 at longitude"):
        find_touches(read_events(flood, odd), [FRAME], [noon("2020-07-10")])
    with pytest.raises(InputError, match="value 1 is named as affected and as clear"):
        read_events(source(kind="mask", type="flood", clear=(0, 1)), path)


@pytest.mark.real
def test_sen1floods11_is_water_or_flood_by_rule(shared_data, tmp_path):
    """All water of the day is Water; what is not permanent water is Flooded Area on that day."""
    label = shared_data / "catalog" / "sen1floods11" / "Spain_7370579_S1" / "label.tif"
    with rasterio.open(label) as dataset:
        lon, lat = dataset.lnglat()
        codes, transform = dataset.read(1), dataset.transform
    x, y = Transformer.from_crs(4326, 32630, always_xy=True).transform(lon, lat)
    column, row = utm_cell(32630, x, y)
    frames = [utm_frame(32630, column + i, row + j) for i in (-1, 0) for j in (-1, 0, 1)]

    def warped(frame):
        out = np.full((120, 120), -1, "int16")
        reproject(codes, out, src_transform=transform, src_crs="EPSG:4326",
                  dst_transform=Affine(*frame.transform()), dst_crs="EPSG:32630", dst_nodata=-1,
                  resampling=Resampling.nearest)  # fmt: skip
        return out

    rules = LabelRules()
    settings = LabelSource(
        kind="raster", rasters=(str(label),), crosswalk="surface-water", nodata=(-1,)
    )
    water = open_source(settings, Roots(None, None), "labels.0")
    patches = Patches([f.name for f in frames], frames, [DAY("2019-09-17")] * 6, [None] * 6)
    land = merge_land_cover([gather_evidence(water, patches, rules)], 6, rules.min_covered)
    flood = source(kind="mask", type="flood", event_date=DAY("2019-09-17"))
    seen = {}
    for day in ("2019-09-17", "2019-09-16"):
        touches = find_touches(read_events(flood, label), frames, [noon(day)] * 6)
        seen[day] = combine(land, judge_all(touches, rules))
    for index, frame in enumerate(frames):
        expected = warped(frame)
        wet, known = (expected == 1).sum(), (expected >= 0).sum()
        on_day, before = (seen[day] for day in ("2019-09-17", "2019-09-16"))
        if known >= 0.25 * 14400:
            share = on_day.fractions[index, CLASSES.index("Water")]
            assert share == pytest.approx(wet / known, abs=3 / known)
            assert bool(on_day.label_mask[index] & bit("Water")) == (wet / known >= 0.02)
        share = on_day.fractions[index, CLASSES.index("Flooded Area")]
        if wet / 14400 >= 0.01 or known >= 7200:
            assert share == pytest.approx(wet / 14400, abs=3 / 14400)
        assert "Flooded Area" not in names_of(int(before.label_mask[index]))
    assert any("Flooded Area" in names_of(int(mask)) for mask in seen["2019-09-17"].label_mask)
    # Where a map calls all of it permanent water, no flood is left.
    permanent = tmp_path / "permanent.tif"
    with rasterio.open(label) as dataset:
        profile = dataset.profile | {"dtype": "uint8", "nodata": None}
    with rasterio.open(permanent, "w", **profile) as dataset:
        dataset.write(np.full(codes.shape, 80, "uint8"), 1)
    touches = find_touches(
        read_events(flood, label, None, permanent), frames, [noon("2019-09-17")] * 6
    )
    none = combine(land, judge_all(touches, rules))
    assert {m & bit("Flooded Area") for m in none.label_mask.tolist()} == {0}
    assert any(m & bit("Water") for m in none.label_mask.tolist())
