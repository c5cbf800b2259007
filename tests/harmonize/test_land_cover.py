import csv
import datetime as dt
import json

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.features import shapes
from rasterio.transform import Affine

from harmonize.crosswalks import load_crosswalk
from harmonize.kinds import IO_CODES, KINDS, WORLDCOVER_CODES
from harmonize.land_cover import Patches, gather_evidence, open_source
from harmonize.merging import merge_land_cover
from landmark.errors import InputError
from landmark.grid import Frame, utm_frame
from landmark.label_settings import LabelRules, LabelSource
from landmark.rasters import FRAME_PIXELS
from landmark.sources import Roots
from landmark.stac_items import AreaShape
from landmark.taxonomy import LAND_COVER_MASK, bit, mask_of, names_of

FRAME = Frame("f", 32632, 500_400.0, 5_200_800.0)
DAY = dt.date(2021, 7, 1)
ROOTS = Roots(None, None)


def write(path, codes, nodata=None, frame=FRAME):
    codes = np.atleast_3d(codes.T).T if codes.ndim == 2 else codes
    with rasterio.open(path, "w", driver="GTiff", width=codes.shape[-1], height=codes.shape[-2],
                       count=len(codes), dtype=codes.dtype, crs=f"EPSG:{frame.epsg}", nodata=nodata,
                       transform=Affine(*frame.transform())) as dataset:  # fmt: skip
        dataset.write(codes)
    return str(path)


def full(code, dtype="uint8"):
    return np.full((120, 120), code, dtype)


RULES = LabelRules()


def ask(settings, frames=(FRAME,), day=DAY, names=None, rules=RULES, masks=None, area=None):
    source = open_source(LabelSource(**settings), ROOTS, "labels.0", area, rules)
    patches = Patches(
        names=names or [frame.name for frame in frames],
        frames=list(frames),
        days=[day] * len(frames) if isinstance(day, dt.date) else day,
        references=[None] * len(frames),
        masks=masks,
    )
    return gather_evidence(source, patches, rules)


def found_codes(evidence, row=0):
    counts = evidence.counts
    return {int(c): int(n) for c, n in zip(counts.codes, counts.counts[row], strict=True) if n}


@pytest.mark.parametrize(
    ("kind", "codes", "nothing"),
    [("worldcover", WORLDCOVER_CODES, [0]), ("io-lulc", IO_CODES, [0, 10])],
)
def test_global_maps_hold_every_code(tmp_path, kind, codes, nothing):
    picture = np.resize([*codes, *nothing], (120, 120)).astype("uint8")
    evidence = ask({"kind": kind, "rasters": [write(tmp_path / "m.tif", picture)]})
    assert set(found_codes(evidence)) == set(codes)
    assert evidence.counts.covered[0] == np.isin(picture, codes).sum()
    matrix = evidence.crosswalk.matrix()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert evidence.crosswalk.mask == LAND_COVER_MASK
    assert evidence.prefix == KINDS[kind].prefix


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"kind": "worldcover"}, 55, "crosswalk worldcover does not map"),
        ({"kind": "io-lulc"}, 12, "crosswalk io-lulc does not map"),
        ({"kind": "dynamic-world"}, 17, "no Dynamic World label"),
        ({"kind": "corine"}, 45, "45"),
        (
            {"kind": "raster", "crosswalk": "surface-water"},
            2,
            "crosswalk surface-water does not map",
        ),
    ],
)
def test_a_code_outside_stops_with_code_file_and_place(tmp_path, settings, code, words):
    picture = np.zeros((120, 120), "uint8")
    picture[7, 11] = code
    path = write(tmp_path / "odd.tif", picture)
    with pytest.raises(InputError, match=words) as caught:
        ask({**settings, "rasters": [path]})
    message = str(caught.value)
    assert "odd.tif" in message
    assert str(code) in message
    if settings["kind"] != "corine":  # CORINE is looked through when it is opened
        to_degrees = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
        lon, lat = to_degrees.transform(FRAME.x_min + 115, FRAME.y_max - 75)
        assert f"longitude {lon:.5f}, latitude {lat:.5f}" in message
    allowed = {**settings, "rasters": [path], "nodata": [code]}
    assert ask(allowed).counts.covered[0] <= FRAME_PIXELS - 1


def test_any_raster_with_a_crosswalk_decides_what_it_names(tmp_path):
    crosswalk = tmp_path / "forest.csv"
    crosswalk.write_text(
        "source,code,name,class,weight,note\nforest,0,other,,,\nforest,1,wood,Trees,1,\n"
        "forest,2,park,Trees,0.5,half trees\n"
    )
    picture = full(0)
    picture[:30], picture[30:60] = 1, 2
    evidence = ask({"kind": "raster", "rasters": [write(tmp_path / "f.tif", picture)],
                    "crosswalk": str(crosswalk)})  # fmt: skip
    classes = merge_land_cover([evidence], 1, 0.25)
    assert names_of(int(classes.known_mask[0])) == ("Trees",)
    assert classes.fractions[0, 1] == pytest.approx(0.25 + 0.125)
    assert evidence.prefix == "forest"
    # The next source decides the rest, fitted into the ground that is left.
    world = ask({"kind": "worldcover", "rasters": [write(tmp_path / "w.tif", full(40))]})
    both = merge_land_cover([evidence, world], 1, 0.25)
    assert both.known_mask[0] == LAND_COVER_MASK
    assert names_of(int(both.label_mask[0])) == ("Trees", "Crops")
    assert both.fractions[0, 4] == pytest.approx(1 - 0.375)


def polygonised(path, codes, field, transform, crs, translate):
    rows = [
        {field: str(translate(int(value))), "geometry": shapely.geometry.shape(shape)}
        for shape, value in shapes(codes, mask=codes > 0, transform=transform)
    ]
    frame = geopandas.GeoDataFrame(rows, crs=crs)
    frame.to_file(path, driver="GPKG")


@pytest.mark.real
def test_corine_polygons_give_what_the_raster_gives(shared_data, tmp_path):
    """The real raster of Guadeloupe as polygons, with the attribute of the vector release."""
    raster = shared_data / "corine" / "U2018_CLC2018_V2020_20u1_FR_GLP.tif"
    codes = KINDS["corine"].codes
    path = tmp_path / "clc.gpkg"
    with rasterio.open(raster) as dataset:
        polygonised(path, dataset.read(1), "Code_18", dataset.transform, dataset.crs,
                    lambda grid: codes[grid - 1])  # fmt: skip
    frames = [utm_frame(32620, c, r) for c in range(534, 560, 5) for r in range(1480, 1496, 5)]
    one = ask({"kind": "corine", "rasters": [str(raster)]}, frames)
    two = ask({"kind": "corine", "rasters": [str(path)]}, frames)
    assert one.counts.covered.sum() > 10 * FRAME_PIXELS
    for row in range(len(frames)):
        a, b = found_codes(one, row), found_codes(two, row)
        assert sum(abs(a.get(c, 0) - b.get(c, 0)) for c in {*a, *b}) / 2 <= 3


def test_polygons_of_ones_own_by_name_or_code(tmp_path):
    west, north = FRAME.x_min, FRAME.y_max
    shape = [shapely.box(west, north - 600, west + 1200, north),
             shapely.box(west, north - 900, west + 1200, north - 600)]  # fmt: skip
    path = tmp_path / "mine.gpkg"
    frame = geopandas.GeoDataFrame({"cover": ["trees", "4"]}, geometry=shape, crs="EPSG:32632")
    frame.to_file(path, driver="GPKG", layer="a")
    settings = {"kind": "polygons", "rasters": [str(path)], "crosswalk": "taxonomy"}
    evidence = ask({**settings, "field": "cover"})
    assert found_codes(evidence) == {1: 7200, 4: 3600}
    with pytest.raises(InputError, match=r"labels\.0\.field: name the attribute"):
        ask(settings)
    with pytest.raises(InputError, match="no attribute matches kind; there are cover"):
        ask({**settings, "field": "kind"})
    frame["cover"] = ["trees", "lava"]
    frame.to_file(path, driver="GPKG", layer="a")
    with pytest.raises(InputError, match=r"mine\.gpkg: cover 'lava' is no code"):
        ask({**settings, "field": "cover"})
    frame.to_file(path, driver="GPKG", layer="b")
    with pytest.raises(InputError, match=r"2 layers \(a, b\); name one as `layer`"):
        ask({**settings, "field": "cover"})
    with pytest.raises(InputError, match="no layer 'c'"):
        ask({**settings, "field": "cover", "layer": "c"})


NAMES = ["20200601T101031_20200601T101031_T32TNT.tif", "20210703T101031_20210703T101031_T32TNT.tif",
         "20210620T101031_20210620T101031_T32TNT.tif"]  # fmt: skip


def test_the_nearest_date_decides_within_the_window(tmp_path):
    paths = [write(tmp_path / name, full(k)) for k, name in enumerate(NAMES)]
    settings = {"kind": "dynamic-world", "rasters": paths}
    assert found_codes(ask(settings)) == {1: FRAME_PIXELS}
    days = [dt.date(2020, 6, 2), dt.date(2021, 6, 21), dt.date(2021, 8, 30)]
    frames = [FRAME, FRAME, FRAME]
    near = ask({**settings, "window_days": 5}, frames, days)
    assert [found_codes(near, row) for row in range(3)] == [{0: 14400}, {2: 14400}, {}]
    old = ask(settings, frames, days, rules=LabelRules(max_label_age=60))
    assert [found_codes(old, row) for row in range(3)] == [{0: 14400}, {2: 14400}, {1: 14400}]


def test_an_age_limit_needs_dates(tmp_path):
    settings = {"kind": "dynamic-world", "rasters": [write(tmp_path / "m.tif", full(1))]}
    with pytest.raises(InputError, match=r"labels\.0\.period: m\.tif states no date"):
        ask(settings, rules=LabelRules(max_label_age=60))
    period = {"start": "2021-01-01", "end": "2021-12-31"}
    assert found_codes(ask({**settings, "period": period}, rules=LabelRules(max_label_age=60)))
    # CORINE 2018 describes 2017 and 2018.
    corine = {"kind": "corine", "rasters": [write(tmp_path / "c.tif", full(12))]}
    assert found_codes(ask(corine, day=dt.date(2019, 1, 20), rules=LabelRules(max_label_age=30)))
    assert not found_codes(ask(corine, rules=LabelRules(max_label_age=30)))


def test_file_names_that_state_their_year():
    day = KINDS["worldcover"].date("ESA_WorldCover_10m_2020_v100_N45E009_Map.tif")
    assert (day.start, day.end) == (dt.date(2020, 1, 1), dt.date(2020, 12, 31))
    assert KINDS["io-lulc"].date("32T_20210101-20220101.tif").start == dt.date(2021, 1, 1)
    assert KINDS["dynamic-world"].date("20211303T101031_20210703T101031_T32TNT.tif") is None


def test_probabilities_are_averaged_before_the_class_is_chosen(tmp_path):
    """Two scenes say water by a little, one says trees by far: the mean is trees."""

    def scene(name, water, trees):
        planes = np.zeros((9, 120, 120), "float32")
        planes[0], planes[1], planes[8] = water, trees, 1 - water - trees
        planes[:, :30] = 0  # not mapped
        return write(tmp_path / name, planes)

    paths = [scene(NAMES[0], 0.5, 0.45), scene(NAMES[1], 0.1, 0.9), scene(NAMES[2], 0.5, 0.45)]
    settings = {"kind": "dynamic-world", "rasters": paths}
    assert found_codes(ask(settings)) == {1: 90 * 120}
    assert found_codes(ask({**settings, "window_days": 20})) == {1: 90 * 120}
    assert found_codes(ask({**settings, "window_days": 20}, day=dt.date(2020, 6, 1))) == {0: 10800}
    assert found_codes(ask({**settings, "min_probability": 0.7})) == {}
    masks = np.zeros((1, 60, 60), bool)
    masks[:, 30:] = True
    assert found_codes(ask({**settings, "mask_clouds": True}, masks=masks)) == {1: 30 * 120}
    bad = write(tmp_path / "bad.tif", np.full((9, 120, 120), 55, "uint8"))
    with pytest.raises(InputError, match=r"bad\.tif: holds values outside 0\.\.1"):
        ask({"kind": "dynamic-world", "rasters": [bad]})
    few = write(tmp_path / "few.tif", np.full((4, 120, 120), 0.1, "float32"))
    with pytest.raises(InputError, match="4 bands, not 9"):
        ask({"kind": "dynamic-world", "rasters": [few]})


def test_labels_of_a_table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("patch_id,label\nf,Water\nf,trees|4\n g_s1_S1A_20230704T101031 ,Built\n")
    names = ["f_s2_S2B_20230704T101031", "f_s1_S1A_20230704T101031", "g_s1_S1A_20230704T101031",
             "g_s2_S2B_20230704T101031"]  # fmt: skip
    settings = {"kind": "table", "rasters": [str(path)]}
    evidence = ask(settings, [FRAME] * 4, names=names)
    classes = merge_land_cover([evidence], 4, 0.25)
    listed = mask_of(["Water", "Trees", "Crops"])
    assert classes.label_mask.tolist() == [listed, listed, bit("Built"), 0]
    assert classes.known_mask.tolist() == classes.label_mask.tolist()
    assert np.isnan(classes.fractions).all()
    full_list = ask({**settings, "complete": True}, [FRAME] * 4, names=names)
    assert merge_land_cover([full_list], 4, 0.25).known_mask.tolist() == [0xFFF, 0xFFF, 0xFFF, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "patch_id,label\nf,Watter\n",
            r"mine\.csv:2: label 'Watter' .* \(did you mean 'Water'\?\)",
        ),
        ("patch_id,label\nf,13\n", "label '13' is not in crosswalk taxonomy"),
        ("id,label\nf,Water\n", "no column patch_id; there are id, label"),
        ("patch_id,class\nf,Water\n", "no column label or labels"),
        ("patch_id,label\n,Water\n", r"mine\.csv:2: names no patch"),
        ("patch_id,label\nf\n", r"mine\.csv:2: has 1 cells, not 2"),
        ("patch_id,label\n", "holds no row"),
    ],
)
def test_wrong_tables_name_the_line(tmp_path, text, words):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        ask({"kind": "table", "rasters": [str(path)]})


def clc(shared_data):
    entries = json.loads((shared_data / "corine" / "clc_metadata.json").read_text())["clc_data"]
    return [entry for entry in entries if entry["code"] != "999"]


@pytest.mark.real
def test_all_44_corine_and_19_and_43_bigearthnet_names_map(shared_data):
    entries = clc(shared_data)
    corine, nineteen = load_crosswalk("corine"), load_crosswalk("ben-19")
    assert len(entries) == 44
    for entry in entries:
        assert corine.code_of(entry["name_clc"]) == int(entry["code"])
    names = {entry["name_19"] for entry in entries} - {"UNLABELED"}
    assert {nineteen.code_of(name) for name in names} == set(range(19))
    for other, code in (("Natural grasslands", 321), ("Bare rocks", 332), ("Peat bogs", 412),
                        ("Transitional woodland-shrub", 324), ("beaches dunes sands", 331),
                        ("311", 311)):  # fmt: skip
        assert corine.code_of(other) == code
    assert corine.code_of("Lava") is corine.code_of("999") is None


@pytest.mark.real
def test_bigearthnet_labels_of_real_patches(shared_data, tmp_path):
    """Every class the 19 names give is also what the pixels of the reference map hold."""
    with (shared_data / "reben" / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    table = tmp_path / "labels.csv"
    table.write_text("".join(["patch_id,labels\n", *(
        f'{row["patch_id"]},"{row["labels_19"]}"\n' for row in rows)]))  # fmt: skip
    names = [row["patch_id"] for row in rows]
    settings = {"kind": "table", "rasters": [str(table)], "crosswalk": "ben-19", "complete": True}
    classes = merge_land_cover([ask(settings, [FRAME] * 90, names=names)], 90, 0.25)
    matrix, corine = load_crosswalk("corine").matrix(), load_crosswalk("corine")
    for row, mask, known in zip(rows, classes.label_mask, classes.known_mask, strict=True):
        held = {int(pair.split(":")[0]) for pair in row["clc_l3"].split("|")} - {999}
        shown = {name for code in held for name in (
            r.label for r in corine.rows_of(code) if r.weight >= 0.5) if name}  # fmt: skip
        present = set(names_of(int(mask)))
        assert present
        assert present <= shown
        # What is said to be absent is not in the map with any weight.
        maybe = {r.label for code in held for r in corine.rows_of(code)}
        assert not set(names_of(int(known & ~mask))) & maybe
    # The dropped classes leave Built, Bare, Grass, Trees and Water open where they are not listed.
    open_bits = mask_of(["Built", "Bare", "Grass", "Water"])
    assert ((classes.known_mask & open_bits) == (classes.label_mask & open_bits)).all()
    assert matrix.shape == (44, 12)


def catalogued(folder, items):
    """A static STAC catalog of maps."""
    features = []
    for number, (name, codes, start, end, nodata) in enumerate(items):
        write(folder / name, codes, nodata)
        box = [8.9, 46.9, 9.1, 47.1]
        features.append(
            {"type": "Feature", "stac_version": "1.0.0", "id": f"i{number}",
             "collection": "io-lulc-annual-v02", "bbox": box,
             "geometry": shapely.geometry.mapping(shapely.box(*box)), "links": [],
             "properties": {"datetime": None, "start_datetime": start, "end_datetime": end},
             "assets": {"data": {"href": f"./{name}"}}}
        )  # fmt: skip
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def test_maps_found_in_a_catalog(tmp_path):
    year = lambda y: (f"{y}-01-01T00:00:00Z", f"{y + 1}-01-01T00:00:00Z")  # noqa: E731
    href = catalogued(
        tmp_path, [("a.tif", full(2), *year(2020), 0), ("b.tif", full(5), *year(2021), 0)]
    )
    area = AreaShape(shapely.box(8.99, 46.9, 9.03, 47.0), is_box=True)
    settings = {"kind": "io-lulc", "catalog": {"kind": "local", "href": href}}
    days = [dt.date(2020, 12, 31), dt.date(2021, 1, 1), dt.date(2025, 1, 1)]
    evidence = ask(settings, [FRAME] * 3, days, area=area)
    assert [found_codes(evidence, row) for row in range(3)] == [{2: 14400}, {5: 14400}, {5: 14400}]
    aged = ask(settings, [FRAME] * 3, days, area=area, rules=LabelRules(max_label_age=365))
    assert [found_codes(aged, row) for row in range(3)] == [{2: 14400}, {5: 14400}, {}]
    only = {"kind": "local", "href": href, "time": {"start": "2020-02-01", "end": "2020-03-01"}}
    early = ask({**settings, "catalog": only}, [FRAME] * 3, days, area=area)
    assert found_codes(early, 2) == {2: 14400}
    far = AreaShape(shapely.box(20, 40, 21, 41), is_box=True)
    with pytest.raises(
        InputError, match="lists no map of io-lulc-annual-v02 where the patches lie"
    ):
        ask(settings, area=far)
    wrong = {"kind": "local", "href": href, "asset": "map"}
    with pytest.raises(InputError, match="item i0 has no asset 'map'; there are data"):
        ask({**settings, "catalog": wrong}, area=area)
    with pytest.raises(InputError, match="no such file"):
        ask(
            {**settings, "catalog": {"kind": "local", "href": str(tmp_path / "no.json")}}, area=area
        )


def test_sources_without_what_they_need():
    with pytest.raises(ValueError, match="needs a crosswalk"):
        LabelSource(kind="raster", rasters=("a.tif",))
    with pytest.raises(ValueError, match="rasters and a catalog"):
        LabelSource(kind="worldcover", rasters=("a.tif",), catalog={"kind": "local", "href": "x"})


def test_reference_maps_age_too(tmp_path):
    path = write(tmp_path / "m.tif", full(311, "uint16"))
    source = open_source(LabelSource(kind="reference-map"), ROOTS, "labels.0")
    days = [dt.date(2018, 6, 1), dt.date(2020, 6, 1)]
    patches = Patches(["a", "b"], [FRAME, FRAME], days, [path, path])
    found = gather_evidence(source, patches, LabelRules(max_label_age=100))
    assert found.counts.covered.tolist() == [FRAME_PIXELS, 0]
    assert gather_evidence(source, patches, RULES).counts.covered.tolist() == [FRAME_PIXELS] * 2
