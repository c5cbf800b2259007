import datetime as dt
import shutil
import zipfile

import geopandas
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from harmonize.ems import find_layers, parse_image_day
from harmonize.ems_names import parse_layer_name
from harmonize.event_sources import read_events
from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.vectors import union

DAY = dt.date.fromisoformat
BOX = shapely.box(10.0, 45.0, 10.1, 45.1)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("EMSR390_AOI01_GRA_PRODUCT_observedEventA_r1_v2", "390 01 GRA 0 observed A 1 2"),
        ("EMSR685_AOI01_GRA_PRODUCT_observedEventA_v1", "685 01 GRA 0 observed A 0 1"),
        ("EMSR715_AOI12_DEL_MONIT03_areaOfInterestA_v2", "715 12 DEL 3 area A 0 2"),
        ("EMSR548_AOI01_DEL_PRODUCT_notAnalysedA_r1_v1", "548 01 DEL 0 blind A 1 1"),
        ("EMSR548_AOI01_GRA_PRODUCT_builtUpP_r1_v1", "548 01 GRA 0 built P 1 1"),
        ("EMSR548_AOI01_GRA_PRODUCT_source_r1_v1", "548 01 GRA 0 source - 1 1"),
        ("EMSR548_AOI01_DEL_PRODUCT_hydrographyL_r1_v1", "548 01 DEL 0 - L 1 1"),
        ("EMSR332_08PORDENONE_DEL_v1_observed_event_a", "332 08 DEL 0 observed A 0 1"),
        ("EMSR332_08PORDENONE_DEL_MONIT01_v1_area_of_interest_a", "332 08 DEL 1 area A 0 1"),
        ("EMSR258_05PATOS_01DELINEATION_MAP_v3_observed_event_a", "258 05 DEL 0 observed A 0 3"),
        ("EMSR192_08CHIVASSO_DELINEATION_OVERVIEW_v1_crisis_information_a",
         "192 08 DEL 0 observed A 0 1"),
        ("EMSR258_05PATOS_02GRADING_MAP_MONIT02_v1_settlements_p", "258 05 GRA 2 built P 0 1"),
    ],
)  # fmt: skip
def test_layer_names_of_all_generations(name, parts):
    found = parse_layer_name(name)
    told = (found.code.removeprefix("EMSR"), found.aoi, found.product, found.round,
            found.layer or "-", found.shape or "-", found.release, found.version)  # fmt: skip
    assert " ".join(map(str, told)) == parts


@pytest.mark.parametrize("name", ["EMSR715_AOI01_FEP_PRODUCT_v1", "roads", "EMSR1_AOI01", ""])
def test_other_names(name):
    assert parse_layer_name(name) is None


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_none(text):
    found = parse_layer_name(text)
    assert found is None or found.code.startswith("EMSR")


@pytest.mark.parametrize(
    ("value", "day"),
    [("29/10/2018", "2018-10-29"), ("2024-08-26", "2024-08-26"), ("2025/04/23", "2025-04-23"),
     ("1.11.2018", "2018-11-01")],
)  # fmt: skip
def test_image_days(value, day):
    assert parse_image_day(value, "f") == DAY(day)
    assert parse_image_day("Not Applicable", "f") is parse_image_day(None, "f") is None
    with pytest.raises(InputError, match="is no date"):
        parse_image_day("31/13/2018", "f")


def delivery(**changes):
    return EventSource(**({"kind": "ems", "file": "x"} | changes))


def geodesic_m2(geometry):
    return abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(geometry)[0])


@pytest.fixture
def veneto(shared_data):
    return shared_data / "ems" / "EMSR332_flood_veneto"


@pytest.mark.real
def test_the_flood_of_veneto(veneto):
    """Real layers of the old naming: dates from the manifest, one round, areas as computed."""
    source = delivery(type="flood", event_date=DAY("2018-10-29"), event_end=DAY("2018-11-02"))
    events = read_events(source, veneto)
    assert [event.id for event in events] == ["EMSR332-AOI08", "EMSR332-AOI09"]
    for event, place in zip(events, ("08PORDENONE", "09VENEZIA"), strict=True):
        assert (event.type, event.start, event.end) == (
            "flood",
            DAY("2018-10-29"),
            DAY("2018-11-02"),
        )
        raw = geopandas.read_file(veneto / f"EMSR332_{place}_DEL_v1_observed_event_a.shp")
        area = geodesic_m2(union(raw.geometry.make_valid().tolist()))
        assert geodesic_m2(event.geometry) == pytest.approx(area, rel=0.01)
        looked = geopandas.read_file(veneto / f"EMSR332_{place}_DEL_v1_area_of_interest_a.shp")
        assert geodesic_m2(event.analysed) == pytest.approx(
            geodesic_m2(looked.geometry[0]), rel=0.01
        )
        assert event.analysed.contains(event.geometry.representative_point())
    last = read_events(delivery(type="flood", round="last"), veneto)
    assert [event.id for event in last] == ["EMSR332-AOI08-MONIT01", "EMSR332-AOI09-MONIT01"]
    assert {event.start for event in last} == {None}
    first, second = (geodesic_m2(e.geometry) for e in (events[0], last[0]))
    assert abs(first - second) > 10_000


@pytest.mark.real
def test_the_same_delivery_zipped_and_zipped_again(veneto, tmp_path):
    expected = read_events(delivery(type="flood"), veneto)
    inner = shutil.make_archive(str(tmp_path / "inner"), "zip", veneto)
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "EMSR332/inner.zip")
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(inner, folder)
    for path in (tmp_path / "inner.zip", outer, folder):
        found = read_events(delivery(type="flood"), path)
        assert [e.id for e in found] == [e.id for e in expected]
        for one, two in zip(found, expected, strict=True):
            assert one.geometry.equals(two.geometry)


@pytest.mark.real
def test_wrong_use_of_a_real_delivery(veneto, tmp_path):
    with pytest.raises(InputError, match="states no image date, which round: each needs"):
        read_events(delivery(type="flood", round="each"), veneto)
    with pytest.raises(InputError, match="maps no earthquake"):
        read_events(delivery(type="earthquake"), veneto)
    with pytest.raises(InputError, match="only a source of kind vector takes it"):
        read_events(delivery(type="flood"), veneto, veneto)


def write(folder, name, rows, suffix="json"):
    folder.mkdir(exist_ok=True)
    frame = geopandas.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    path = folder / f"{name}.{suffix}"
    frame.to_file(path, driver={"json": "GeoJSON", "shp": "ESRI Shapefile"}[suffix])
    return path


def flood(x, width=0.01, kind="5-Flood", **more):
    return {"event_type": kind, "geometry": shapely.box(x, 45.02, x + width, 45.03), **more}


def table(folder, name, rows):
    import pyogrio

    frame = geopandas.pd.DataFrame(rows)
    pyogrio.write_dataframe(frame, folder / f"{name}.dbf", driver="ESRI Shapefile")


def test_the_closest_product_and_version_is_taken(tmp_path):
    folder = tmp_path / "EMSR700"
    stem = "EMSR700_AOI01"
    write(folder, f"{stem}_FEP_PRODUCT_observedEventA_v3", [flood(10.0, 0.09)])
    write(folder, f"{stem}_DEL_PRODUCT_observedEventA_v1", [flood(10.0, 0.05)])
    write(
        folder,
        f"{stem}_DEL_PRODUCT_observedEventA_v2",
        [flood(10.0), flood(10.05, kind="6-Mass Movement")],
    )
    write(
        folder,
        f"{stem}_DEL_PRODUCT_observedEventA_v2",
        [flood(10.0), flood(10.05, kind="6-Mass Movement")],
        "shp",
    )
    write(folder, f"{stem}_DEL_PRODUCT_areaOfInterestA_v2", [{"geometry": BOX}])
    write(
        folder,
        f"{stem}_DEL_PRODUCT_notAnalysedA_v2",
        [{"geometry": shapely.box(10.05, 45, 10.1, 45.1)}],
    )
    write(folder, f"{stem}_REF_PRODUCT_observedEventA_v1", [flood(10.0, 0.09)])
    (event,) = read_events(delivery(), folder)
    assert (event.type, event.id, event.start) == ("flood", "EMSR700-AOI01", None)
    assert event.geometry.area == pytest.approx(1e-4)
    assert event.analysed.area == pytest.approx(0.005)
    names = [file.name.product for file in find_layers(folder)]
    assert len(names) == 6  # one layer in two formats is one


def test_dates_of_images_rounds_and_nothing_seen(tmp_path):
    folder, stem = tmp_path / "d", "EMSR701_AOI02"
    images = [{"src_id": "1", "src_date": "20/10/2018", "eventphase": "Pre-event"},
              {"src_id": "2", "src_date": "30/10/2018", "eventphase": "Post-event"},
              {"src_id": "3", "src_date": "2018-11-03", "eventphase": "Post-event"}]  # fmt: skip
    for number, name in enumerate(("PRODUCT", "MONIT01")):
        write(folder, f"{stem}_DEL_{name}_observedEventA_v1",
              [flood(10.0, dmg_src_id=str(number + 2)), flood(10.02, dmg_src_id="1")])  # fmt: skip
        write(folder, f"{stem}_DEL_{name}_areaOfInterestA_v1", [{"geometry": BOX}])
        table(folder, f"{stem}_DEL_{name}_source_v1", images)
    first, second = read_events(delivery(type="flood", round="each"), folder)
    assert (first.id, first.start, first.end) == (
        "EMSR701-AOI02",
        DAY("2018-10-30"),
        DAY("2018-10-30"),
    )
    assert (second.id, second.start) == ("EMSR701-AOI02-MONIT01", DAY("2018-11-03"))
    dated = delivery(type="flood", event_date=DAY("2000-01-01"))
    assert read_events(dated, folder)[0].start == DAY("2018-10-30")
    empty = tmp_path / "e"
    write(empty, f"{stem}_DEL_PRODUCT_areaOfInterestA_v1", [{"geometry": BOX}])
    (event,) = read_events(delivery(type="flood"), empty)
    assert event.geometry.is_empty
    assert event.analysed.equals(BOX)


@pytest.mark.parametrize(
    ("grade", "buildings"), [("destroyed", 1), ("damaged", 2), ("possible", 3)]
)
def test_damage_grades(tmp_path, grade, buildings):
    grades = ["Destroyed", "Damaged", "Possibly damaged", "No visible damage", None]
    rows = [{"damage_gra": value, "geometry": shapely.Point(10 + k / 100, 45.05)}
            for k, value in enumerate(grades)]  # fmt: skip
    write(tmp_path / "q", "EMSR702_AOI01_GRA_PRODUCT_builtUpP_v1", rows)
    write(tmp_path / "q", "EMSR702_AOI01_GRA_PRODUCT_areaOfInterestA_v1", [{"geometry": BOX}])
    source = delivery(type="earthquake", min_grade=grade, radius_m=100)
    (event,) = read_events(source, tmp_path / "q")
    assert event.type == "earthquake"
    assert geodesic_m2(event.geometry) == pytest.approx(buildings * 31_416, rel=0.02)


def test_a_layer_without_its_prj_is_in_degrees(tmp_path):
    folder, name = tmp_path / "p", "EMSR703_AOI01_DEL_PRODUCT_observedEventA_v1"
    write(folder, name, [flood(10.0)], "shp")
    (folder / f"{name}.prj").unlink()
    (event,) = read_events(delivery(), folder)
    assert event.geometry.area == pytest.approx(1e-4)
    frame = geopandas.GeoDataFrame([flood(10.0)], geometry="geometry", crs="EPSG:4326")
    frame.to_crs(32632).to_file(folder / f"{name}.shp")
    (folder / f"{name}.prj").unlink()
    with pytest.raises(InputError, match="states no CRS"):
        read_events(delivery(), folder)


def test_no_delivery_at_all(tmp_path):
    (tmp_path / "roads.json").write_text("{}")
    with pytest.raises(InputError, match="holds no layer of a Rapid Mapping delivery"):
        read_events(delivery(), tmp_path)
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        read_events(delivery(), tmp_path / "roads.json")
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("a.json", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.json", "2")
    with pytest.raises(InputError, match=r"holds a\.json twice, with different contents"):
        read_events(delivery(), twice)
