import json

import geopandas
import numpy as np
import pytest
from pyproj import Transformer
from shapely import Polygon, box, transform

from landmark.errors import InputError
from landmark.grid import Frame
from landmark.vectors import overlap_areas, overlaps, read_polygons, union, union_area

FRAME = Frame("f", 32632, 500_400.0, 5_200_800.0)


def lonlat(geometry, epsg=32632):
    back = Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True)
    return transform(geometry, lambda xy: np.column_stack(back.transform(*xy.T)))


def square(west, north, size, frame=FRAME):
    x, y = frame.x_min + west, frame.y_max - north
    return lonlat(box(x, y - size, x + size, y), frame.epsg)


def test_areas_are_those_of_the_frame_crs():
    south = Frame("s", 32736, 500_400.0, 7_600_400.0)
    geometries = [square(300, 300, 600), square(-600, 0, 1200), square(5000, 0, 100),
                  square(0, 0, 1200, south)]  # fmt: skip
    frames, found, areas = overlap_areas([FRAME, south], geometries)
    assert list(zip(frames, found, strict=True)) == [(0, 0), (0, 1), (1, 3)]
    np.testing.assert_allclose(areas, [360_000, 720_000, 1_440_000], rtol=1e-6)


def test_touching_edges_are_no_overlap():
    assert overlap_areas([FRAME], [square(1200.5, 0, 500)])[0].size == 0


def test_a_continent_around_a_frame_covers_it():
    continent = box(-20, 30, 40, 70)
    _, _, areas = overlap_areas([FRAME], [continent])
    np.testing.assert_allclose(areas, [1_440_000], rtol=1e-9)


def test_parts_can_be_united():
    found = overlaps([FRAME], [square(0, 0, 600), square(300, 0, 600)])
    assert found.areas.sum() == pytest.approx(720_000, rel=1e-6)
    assert union_area(list(found.parts)) == pytest.approx(540_000, rel=1e-6)
    assert union([square(0, 0, 600), square(0, 0, 600)]).area > 0


def test_no_frames_or_no_geometries():
    assert overlap_areas([], [box(0, 0, 1, 1)])[0].size == 0
    assert overlap_areas([FRAME], [])[0].size == 0


def test_null_geometries_are_dropped_and_counted(tmp_path):
    bow_tie = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    frame = geopandas.GeoDataFrame(
        {"id": ["a", "b", None], "n": [1, 2, 3]},
        geometry=[bow_tie, None, box(2, 2, 3, 3)],
        crs=4326,
    )
    frame.to_file(tmp_path / "e.gpkg")
    polygons = read_polygons(tmp_path / "e.gpkg")
    assert polygons.dropped == 1
    assert [f.attributes["id"] for f in polygons.features] == ["a", None]
    assert all(f.geometry.is_valid for f in polygons.features)
    assert polygons.features[0].geometry.area == pytest.approx(0.5)
    assert polygons.fields == ("id", "n")


def test_refusals(tmp_path):
    frame = geopandas.GeoDataFrame({"id": [1]}, geometry=[box(0, 0, 1, 1)])
    with pytest.warns(UserWarning, match="crs"):
        frame.to_file(tmp_path / "nocrs.shp")
    frame.set_crs(4326).set_geometry(frame.centroid.set_crs(4326)).to_file(tmp_path / "points.gpkg")
    for name in ("a", "b"):
        frame.set_crs(4326).to_file(tmp_path / "two.gpkg", layer=name)
    (tmp_path / "text.geojson").write_text("nothing")
    for name, words in {
        "nocrs.shp": "states no CRS",
        "points.gpkg": "type Point",
        "two.gpkg": "2 layers",
        "text.geojson": "cannot be read",
        "none.gpkg": "no such file",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            read_polygons(tmp_path / name)
        assert name in str(caught.value)


def test_three_dimensional_geojson_is_flattened(tmp_path):
    ring = [[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]
    feature = {"type": "Feature", "properties": {"id": 7},
               "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip
    path = tmp_path / "z.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    polygons = read_polygons(path)
    assert not polygons.features[0].geometry.has_z


@pytest.mark.real
def test_real_event_files(shared_data):
    ems = shared_data / "ems" / "EMSR332_flood_veneto"
    flood = read_polygons(ems / "EMSR332_08PORDENONE_DEL_v1_observed_event_a.shp")
    assert len(flood.features) == 43
    assert {f.attributes["event_type"] for f in flood.features} == {"5-Flood"}
    fires = read_polygons(shared_data / "events" / "wildfire_perimeters_PT_2020_50to1500ha.gpkg")
    assert len(fires.features) == 76
    # Lon/lat of mainland Portugal, from a file in EPSG:32629.
    west, south, east, north = union([f.geometry for f in fires.features]).bounds
    assert box(-9.6, 36.9, -6.1, 42.2).contains(box(west, south, east, north))
    # The file's own hectares against areas measured in the zone.
    for feature in fires.features[:5]:
        c = feature.geometry.centroid
        x, y = Transformer.from_crs(4326, 32629, always_xy=True).transform(c.x, c.y)
        frames = [Frame(f"{i}{j}", 32629, x + 1200 * i, y + 1200 * j)
                  for i in range(-12, 12) for j in range(-12, 12)]  # fmt: skip
        hectares = overlap_areas(frames, [feature.geometry])[2].sum() / 1e4
        assert hectares == pytest.approx(feature.attributes["area_ha"], rel=0.01)
    quakes = shared_data / "events" / "usgs_all_week_20180207_M3.5plus.geojson"
    with pytest.raises(InputError, match="Point"):
        read_polygons(quakes)
