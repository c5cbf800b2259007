import datetime as dt
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from harmonize.explaining import explain
from harmonize.labelling import label_shard, plan_labelling
from landmark.codec import encode_scl
from landmark.commits import damage, mark_path
from landmark.errors import InputError
from landmark.pages import render
from landmark.shards import commit_shard
from landmark.sources import open_roots
from landmark.taxonomy import CLASSES, LAND_COVER_MASK, mask_of, names_of
from tests.harmonize import datasets
from tests.harmonize.datasets import Patch

SIDE = 3
WEST, NORTH = 400 * 1200.0, 4003 * 1200.0
FLOOD_DAY = datasets.TIME.date()


def write_raster(path, codes, west=WEST):
    with rasterio.open(path, "w", driver="GTiff", width=codes.shape[1], height=codes.shape[0],
                       count=1, dtype=codes.dtype, crs="EPSG:32632", nodata=255,
                       transform=Affine(10, 0, west, 0, -10, NORTH)) as dataset:  # fmt: skip
        dataset.write(codes, 1)


def write_flood(path, west, north, size, start):
    box = shapely.box(west, north - size, west + size, north)
    to_degrees = pyproj.Transformer.from_crs(32632, "OGC:CRS84", always_xy=True)
    area = shapely.transform(box, lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
    days = {"id": "flood-1", "start": start.isoformat(), "end": start.isoformat()}
    feature = {"type": "Feature", "properties": days, "geometry": shapely.geometry.mapping(area)}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


@pytest.fixture
def made(tmp_path):
    """A fetched dataset of 3 x 3 cells and its label files.

    Column 400 is trees, column 401 crops, half of column 402 is water and the rest not mapped by
    Dynamic World; CORINE maps nothing. A flood of 6 ha lies in the north-western cell.
    """
    files = tmp_path / "files"
    files.mkdir()
    world = np.full((360, 360), 255, "uint8")
    world[:, :120], world[:, 120:240], world[:, 240:300] = 1, 4, 0
    write_raster(files / "world.tif", world)
    write_raster(files / "corine.tif", np.full((360, 360), 48, "uint8"))
    write_flood(files / "flood.geojson", WEST, NORTH, 245.0, FLOOD_DAY)
    write_flood(files / "looked.geojson", WEST, NORTH, 1200.0, FLOOD_DAY)
    (files / "catalog.json").write_text("{}")
    rules = datasets.manifest(
        catalog={"kind": "local", "href": str(files / "catalog.json")},
        labels=[
            {"kind": "dynamic-world", "rasters": [str(files / "world.tif")], "version": "test"},
            {"kind": "corine", "rasters": [str(files / "corine.tif")]},
        ],
        events=[
            {"type": "flood", "file": str(files / "flood.geojson"),
             "analysed": str(files / "looked.geojson")},
        ],
    )  # fmt: skip
    patches = datasets.square(SIDE)
    dataset = datasets.write(tmp_path / "data", patches, rules, rows_per_shard=5)
    for path in dataset.labels.iterdir():
        path.unlink()
    write_plan(dataset, patches, rows_per_shard=5)
    return dataset, rules, files


def write_plan(dataset, patches, rows_per_shard):
    rows = []
    for sensor in ("s1", "s2"):
        own = [patch for patch in patches if patch.sensor == sensor]
        for number, patch in enumerate(own):
            rows.append(
                {"patch_id": patch.patch_id, "status": "keep", "reason": "", "sensor": sensor,
                 "datetime": datasets.TIME, "lon": 8.7, "lat": 43.3,
                 "shard": f"{sensor}-{number // rows_per_shard:05d}"}
            )  # fmt: skip
    rows.append({**rows[0], "patch_id": "lost", "status": "duplicate", "reason": "newer one",
                 "shard": ""})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), dataset.plan)


def plan(dataset, rules):
    return plan_labelling(dataset, rules, open_roots(rules, dataset))


def label(dataset, rules):
    results = [label_shard(pickle.loads(pickle.dumps(task))) for task in plan(dataset, rules)]
    tables = [pq.read_table(path) for path in sorted(dataset.labels.glob("*.parquet"))]
    return results, {row["patch_id"]: row for row in pa.concat_tables(tables).to_pylist()}


def patch_id(column, row, sensor="s2"):
    return Patch(sensor, column, row, 0).patch_id


def test_labels_of_a_tiny_dataset(made):
    dataset, rules, _ = made
    results, rows = label(dataset, rules)
    assert [r.shard for r in results] == ["s1-00000", "s1-00001", "s2-00000", "s2-00001"]
    assert sum(r.patches for r in results) == len(rows) == 2 * SIDE * SIDE
    for sensor in ("s1", "s2"):
        flooded = rows[patch_id(400, 4002, sensor)]
        assert flooded["labels"] == ["Trees", "Flooded Area"]
        assert flooded["label_mask"] == mask_of(flooded["labels"])
        assert names_of(flooded["known_mask"] & ~LAND_COVER_MASK) == ("Flooded Area",)
        assert flooded["fractions"][9] == pytest.approx(245**2 / 1200**2, rel=1e-5)
        assert flooded["native_labels"] == ["dw:1"]
        (event,) = flooded["events"]
        assert (event["id"], event["phase"]) == ("flood-1", "during")
        assert event["days"] == pytest.approx(10 / 24 + 10 / 1440 + 31 / 86400, rel=1e-5)
    half = rows[patch_id(402, 4000)]
    assert half["labels"] == ["Water"]
    assert half["fractions"][CLASSES.index("Water")] == 1
    assert half["known_mask"] == LAND_COVER_MASK
    world, corine = half["label_sources"]
    assert (world["source"], world["version"], world["covered_fraction"]) == (
        "dynamic-world", "test", 0.5)  # fmt: skip
    assert corine["covered_fraction"] == 0
    assert len(world["crosswalk_sha256"]) == 64
    assert world["confidence"] is None
    for name in ("s1-00000", "s2-00001"):
        assert damage(dataset.label_shard(name)) is None


def test_nothing_is_made_twice_and_every_change_is_seen(made):
    dataset, rules, files = made
    label(dataset, rules)
    before = {path.name: path.read_bytes() for path in dataset.labels.iterdir()}
    assert plan(dataset, rules) == []
    dataset.label_shard("s1-00001").unlink()
    mark_path(dataset.label_shard("s2-00000")).unlink()
    assert [task.shard for task in plan(dataset, rules)] == ["s1-00001", "s2-00000"]
    label(dataset, rules)
    assert {path.name: path.read_bytes() for path in dataset.labels.iterdir()} == before
    stricter = rules.model_copy(
        update={"label_rules": rules.label_rules.model_copy(update={"event_share": 0.5})}
    )
    assert len(plan(dataset, stricter)) == 4
    write_raster(files / "corine.tif", np.full((360, 360), 23, "uint8"))
    assert len(plan(dataset, rules)) == 4
    label(dataset, rules)
    write_flood(files / "looked.geojson", WEST, NORTH, 2400.0, FLOOD_DAY)
    assert len(plan(dataset, rules)) == 4
    label(dataset, rules)
    table = pq.read_table(dataset.patch_shard("s1-00000"))
    commit_shard(dataset.patch_shard("s1-00000"), table.slice(0, 4), "another plan")
    assert [task.shard for task in plan(dataset, rules)] == ["s1-00000"]


def test_tasks_carry_only_events_that_may_touch_them(made):
    dataset, rules, files = made
    assert [len(task.config.events) for task in plan(dataset, rules)] == [1, 1, 1, 1]
    write_flood(files / "flood.geojson", WEST + 50_000, NORTH, 245.0, FLOOD_DAY)
    write_flood(files / "looked.geojson", WEST + 50_000, NORTH, 1200.0, FLOOD_DAY)
    assert [len(task.config.events) for task in plan(dataset, rules)] == [0, 0, 0, 0]
    write_flood(files / "looked.geojson", WEST - 9_000, NORTH + 9_000, 30_000.0, FLOOD_DAY)
    assert [len(task.config.events) for task in plan(dataset, rules)] == [1, 1, 1, 1]


def test_moved_files_give_equal_labels(made, tmp_path):
    dataset, rules, files = made
    label(dataset, rules)
    files.rename(tmp_path / "elsewhere")
    moved = type(rules).model_validate_json(
        rules.model_dump_json().replace(str(files), str(tmp_path / "elsewhere"))
    )
    assert plan(dataset, moved) == []


def test_unfinished_shards_wait(made):
    dataset, rules, _ = made
    mark_path(dataset.patch_shard("s1-00000")).unlink()
    assert "s1-00000" not in [task.shard for task in plan(dataset, rules)]


def test_clouds_are_left_out_where_asked(made):
    dataset, rules, _ = made
    path = dataset.patch_shard("s2-00000")
    table = pq.read_table(path)
    scl = np.full((60, 60), 4, np.uint8)
    scl[:, 40:] = 9
    frames = [encode_scl(scl), *[None] * (table.num_rows - 1)]
    place = table.schema.get_field_index("scl")
    commit_shard(path, table.set_column(place, table.schema.field("scl"), [frames]), "cloudy")
    masked = [source.model_copy(update={"mask_clouds": True}) for source in rules.labels]
    _, rows = label(dataset, rules.model_copy(update={"labels": tuple(masked)}))
    cloudy, clear = table["patch_id"].to_pylist()[:2]
    covered = [rows[name]["label_sources"][0]["covered_fraction"] for name in (cloudy, clear)]
    assert covered == [pytest.approx(2 / 3), 1.0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([{"kind": "corine"}], "labels.0.rasters: names no file"),
        ([{"kind": "reference-map", "rasters": ["x.tif"]}], "labels.0.rasters: reference maps"),
        ([{"kind": "corine", "rasters": ["none.tif"]}], "none.tif: no such file"),
        ([{"kind": "corine", "rasters": ["WORLD"], "crosswalk": "dynamic-world"}], "source is"),
    ],
)
def test_wrong_sources_are_refused(made, labels, words):
    dataset, rules, files = made
    text = json.dumps(labels).replace("WORLD", str(files / "corine.tif"))
    sources = [type(rules.labels[0]).model_validate(raw) for raw in json.loads(text)]
    with pytest.raises(InputError, match=words):
        plan(dataset, rules.model_copy(update={"labels": tuple(sources)}))
    assert list(dataset.labels.iterdir()) == []


def test_no_sources_at_all(made):
    dataset, rules, _ = made
    _, rows = label(dataset, rules.model_copy(update={"labels": (), "events": ()}))
    assert {row["known_mask"] for row in rows.values()} == {0}
    assert all(np.isnan(row["fractions"]).all() for row in rows.values())


def test_explanation(made):
    dataset, rules, files = made
    name = patch_id(400, 4002)
    early = explain(dataset.root, name)
    assert "not harmonized" in early.notes[0]
    label(dataset, rules)
    found = explain(dataset.root, name)
    assert found.notes == ()
    assert found.labels == ("Trees", "Flooded Area")
    world, corine = found.sources
    assert (world.decides, corine.decides) == (True, False)
    (code,) = world.codes
    assert (code.native, code.name, code.pixels) == ("dw:1", "trees", 14400)
    assert code.classes == (("Trees", 1.0),)
    (event,) = found.events
    assert event["hectares"] == pytest.approx(6.0025, rel=1e-5)
    assert dict(found.unknown).keys() == {"Burned Area", "Earthquake Damage"}
    text = "\n".join(found.lines())
    assert "dw:1 trees: 14400 px" in text
    assert "Trees: 100.00 % >= 2.00 % -> present" in text
    assert "flood flood-1" in text
    assert "Flooded Area: present" in text
    assert "Burned Area: outside the areas looked at" in text
    html = render(found.page())
    assert html.count("data:image/png;base64,") == 1
    assert json.loads(json.dumps(found.to_dict()))["shard"] == found.shard
    write_flood(files / "flood.geojson", WEST, NORTH, 245.0, dt.date(2010, 1, 1))
    assert "stored labels differ" in explain(dataset.root, name).notes[0]


def test_explanation_of_a_half_known_patch(made):
    dataset, rules, _ = made
    label(dataset, rules)
    found = explain(dataset.root, patch_id(402, 4000, "s1"))
    assert found.sources[0].covered == 0.5
    assert found.sources[0].codes[0].share == 1


def test_explaining_what_is_not_there(made):
    dataset, _, _ = made
    with pytest.raises(InputError, match="no such patch") as caught:
        explain(dataset.root, patch_id(400, 4002)[:-4])
    assert patch_id(400, 4002) in str(caught.value)
    with pytest.raises(InputError, match=r"not kept .duplicate: newer one"):
        explain(dataset.root, "lost")
    with pytest.raises(InputError, match="no such dataset"):
        explain(dataset.root / "none", "x")
