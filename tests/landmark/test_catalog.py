from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from landmark.catalog import find_scenes
from landmark.errors import InputError
from landmark.manifest import Area, Catalog, Manifest, Period, Sentinel1, Sentinel2
from landmark.progress import Silent
from landmark.scenes import Scene
from tests.landmark.made_scenes import both, grid, item, manifest, roots, write_items
from tests.landmark.test_local_catalog import static_catalog

EARLY = {"datetime": "2021-07-14T10:10:31Z", "eo:cloud_cover": 60}


def find(asked: Manifest, folder: Path) -> list[Scene]:
    return find_scenes(asked, roots(asked, folder), Silent())


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    items = [
        item("late", **{"eo:cloud_cover": 5}),
        item("early", **EARLY),
        item("far", grid(epsg=32736)),
        item("radar", **{"s1:unit": "linear"}),
    ]
    return write_items(tmp_path / "items.json", items)


def test_scenes_of_both_sensors_by_time(catalog: Path, tmp_path: Path) -> None:
    scenes = find(both(catalog), tmp_path)
    assert [(s.sensor, s.item) for s in scenes] == [
        ("s1", "radar"), ("s2", "early"), ("s2", "far"), ("s2", "late")
    ]  # fmt: skip
    assert scenes[1].bands[1].href == "early/B02.tif"
    assert all(scene.grid is None for scene in scenes)


def test_order_and_repetition_in_the_catalog_do_not_matter(tmp_path: Path) -> None:
    items = [item("a"), item("b"), item("c", **EARLY)]
    one = find(manifest(write_items(tmp_path / "one.json", items)), tmp_path)
    twice = [*reversed(items), items[0]]
    other = find(manifest(write_items(tmp_path / "two.ndjson", twice)), tmp_path)
    assert one == other
    assert len(one) == 3


def test_area_time_and_filter(catalog: Path, tmp_path: Path) -> None:
    def names(**changes: object) -> list[str]:
        return [scene.item for scene in find(manifest(catalog, **changes), tmp_path)]

    assert names(area=Area(bbox=(9, 44, 12, 46))) == ["early", "late"]
    day = dt.date(2021, 7, 14)
    assert names(time=Period(start=day, end=day)) == ["early"]
    assert names(s2=Sentinel2(filter="eo:cloud_cover < 50")) == ["late"]
    with pytest.raises(InputError, match=r"s2\.filter: .*no CQL2"):
        names(s2=Sentinel2(filter="(("))


def test_an_empty_search_says_what_was_asked(catalog: Path, tmp_path: Path) -> None:
    asked = manifest(
        catalog,
        area=Area(bbox=(1, 2, 3, 4)),
        time=Period(start=dt.date(2020, 1, 1), end=dt.date(2020, 1, 2)),
        s2=Sentinel2(collections=("mine",)),
    )
    with pytest.raises(InputError) as caught:
        find(asked, tmp_path)
    message = str(caught.value)
    for part in (str(catalog), "bbox 1, 2, 3, 4", "2020-01-01 to 2020-01-02", "mine"):
        assert part in message
    assert "\n" not in message


def test_each_sensor_may_have_its_own_catalog(catalog: Path, tmp_path: Path) -> None:
    radar = write_items(tmp_path / "radar.json", [item("other", **{"s1:unit": "dB"})])
    own = Sentinel1(catalog=Catalog(kind="local", href=str(radar)))
    assert find(manifest(catalog, s1=own), tmp_path)[0].item == "other"


def test_an_api_needs_area_and_time(tmp_path: Path) -> None:
    api = Catalog(kind="api", href="http://127.0.0.1:1/stac")
    with pytest.raises(InputError, match="needs area and time; area is missing"):
        find(manifest("x", catalog=api), tmp_path)


def test_unsafe_hrefs_end_the_search(tmp_path: Path) -> None:
    bad = item("a")
    bad["assets"]["B02"]["href"] = "../../etc/passwd"
    asked = manifest(write_items(tmp_path / "items.json", [bad]))
    with pytest.raises(InputError, match="leaves the catalog's folder"):
        find(asked, tmp_path)


def test_static_catalogs_give_the_same_scenes(tmp_path: Path) -> None:
    items = [item("a"), item("b", **EARLY)]
    flat = find(manifest(write_items(tmp_path / "items.json", items)), tmp_path)
    walked = find(manifest(static_catalog(tmp_path / "static", items)), tmp_path)
    assert [s.item for s in walked] == [s.item for s in flat]
    assert walked[0].bands[0].href == "col/b/B01.tif"
    assert walked[0].licence == "CC-BY-4.0"
    assert replace(walked[0], bands=(), licence="") == replace(flat[0], bands=())


@pytest.mark.real
def test_the_three_local_forms_of_the_shared_catalog_agree(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "catalog"
    found = {}
    for name in ("catalog.json", "items.json", "items.ndjson"):
        asked = both(
            folder / name,
            s1=Sentinel1(collections=("sentinel-1-db", "sentinel-1-rtc"), licence="x"),
        )
        found[name] = [replace(scene, licence="") for scene in find(asked, tmp_path)]
    assert found["catalog.json"] == found["items.json"] == found["items.ndjson"]
    assert len(found["items.json"]) == 19
    spans = [s for s in found["items.json"] if s.item.startswith("Spain")]
    assert [s.time for s in spans] == ["2019-09-17T11:59:59Z"]
    located = roots(asked, tmp_path)
    for scene in found["items.json"]:
        for asset in scene.bands:
            assert Path(located.resolve(scene.sensor, asset.href)).is_file()
