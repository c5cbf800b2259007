from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landmark.errors import InputError
from landmark.manifest import S2_BANDS, Sentinel1, Sentinel2
from landmark.providers import ItemContext, provider
from landmark.providers.generic import scene_of
from landmark.scenes import Scene
from landmark.schema import S2_RESOLUTION
from landmark.sources import unsigned
from tests.landmark.made_scenes import item


def read(one: dict[str, Any], source: Sentinel1 | Sentinel2 | None = None, **more: Any) -> Scene:
    source = source or Sentinel2()
    sensor = "s1" if isinstance(source, Sentinel1) else "s2"
    return scene_of(one, ItemContext(sensor, source, unsigned, **more))


@pytest.mark.parametrize(
    ("properties", "identifier", "platform"),
    [
        ({"platform": "sentinel-2a"}, "x", "S2A"),
        ({"platform": "Sentinel-2B"}, "x", "S2B"),
        ({"platform": "S2C"}, "x", "S2C"),
        ({"platform": None}, "S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543", "S2B"),
        ({"platform": "landsat-8"}, "S2A_33UXP_20250302_0_L2A", "S2A"),
        ({"platform": None}, "Spain_7370579_S2", "S2"),
        ({"platform": "SENTINEL-1A"}, "x", "S2"),
    ],
)
def test_platform(properties: dict[str, Any], identifier: str, platform: str) -> None:
    assert read(item(identifier, **properties)).platform == platform


@pytest.mark.parametrize(
    ("properties", "identifier", "baseline", "offset"),
    [
        ({"s2:processing_baseline": "04.00"}, "x", "04.00", -1000),
        ({"s2:processing_baseline": "03.01"}, "x", "03.01", 0),
        ({"s2:processing_baseline": 5.1}, "x", "05.10", -1000),
        ({"processing:version": "05.12"}, "x", "05.12", -1000),
        ({"s2:product_uri": "S2A_MSIL2A_20220706T085611_N0400_R007.SAFE"}, "x", "04.00", -1000),
        ({}, "S2B_MSIL2A_20200322T074609_N0214_R135_T36NYH_20230612T214223", "02.14", 0),
        ({"s2:product_uri": "S2B_MSIL2A_20200223T032739_N9999_R018_T48QUE.SAFE"}, "x", "", 0),
        ({"s2:processing_baseline": "99.99"}, "x", "", 0),
        ({}, "S2A_MSIL2A_20170617T113321_36_85", "", 0),
    ],
)  # fmt: skip
def test_baseline_and_the_offset_it_implies(
    properties: dict[str, Any], identifier: str, baseline: str, offset: int
) -> None:
    scene = read(item(identifier, **properties))
    assert (scene.baseline, scene.offset) == (baseline, offset)
    assert read(item(identifier, **properties), Sentinel2(offset="none")).offset == 0


def test_offset_from_metadata() -> None:
    rule = Sentinel2(offset="metadata")
    assert read(item("a", **{"s2:boa_add_offset": -1000}), rule).offset == -1000
    one = item("a")
    one["assets"]["B01"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    assert read(one, rule).offset == -1000
    one["assets"]["B01"] |= {"raster:bands": None, "raster:scale": 0.0001, "raster:offset": 0}
    assert read(one, rule).offset == 0
    with pytest.raises(InputError, match="item a: states no raster:offset"):
        read(item("a"), rule)


@pytest.mark.parametrize(
    ("properties", "identifier", "mgrs", "orbit", "generated"),
    [
        ({"s2:mgrs_tile": "48QUE"}, "x", "48QUE", None, ""),
        ({"grid:code": "MGRS-31UET", "sat:relative_orbit": 51}, "x", "31UET", 51, ""),
        (
            {},
            "S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543",
            "48QUE",
            18,
            "2023-09-24T18:35:43Z",
        ),
        ({"s2:generation_time": "2024-04-19T12:34:58.775Z"}, "x", "", None, "2024-04-19T12:34:58Z"),
        ({"created": "2023-11-02T20:01:38Z"}, "x", "", None, "2023-11-02T20:01:38Z"),
    ],
)
def test_tile_orbit_and_processing_time(
    properties: dict[str, Any], identifier: str, mgrs: str, orbit: int | None, generated: str
) -> None:
    scene = read(item(identifier, **properties))
    assert (scene.mgrs, scene.relative_orbit, scene.generated) == (mgrs, orbit, generated)


def test_cloud_is_a_share_and_unknown_is_not_zero() -> None:
    assert read(item("a", **{"eo:cloud_cover": 12.5})).cloud == 0.125
    assert read(item("a")).cloud is None


def test_a_missing_band_is_named_with_the_way_out() -> None:
    one = item("a")
    del one["assets"]["B08"]
    with pytest.raises(InputError, match=r"item a: has no asset for band B08 .*s2\.bands"):
        read(one)
    assert len(read(one, Sentinel2(bands=("B02", "B03"))).bands) == 2
    one["assets"]["nir"] = {"href": "nir.tif"}
    mapped = read(one, Sentinel2(assets={"B08": "nir"}))
    assert mapped.bands[7].href == "nir.tif"


def test_scene_classes_are_taken_where_there_are_any() -> None:
    assert read(item("a")).scl is None
    one = item("a")
    one["assets"]["scl"] = {"href": "s.tif"}
    scl = read(one).scl
    assert scl is not None
    assert (scl.band, scl.href) == ("SCL", "s.tif")


def test_hrefs_are_kept_without_signatures() -> None:
    one = item("a")
    one["assets"]["B02"]["href"] = "https://h/B02.tif?sv=1&sig=secret"
    assert "secret" not in read(one).to_json()


@pytest.mark.parametrize(
    ("stated", "unit"), [("dB", "db"), ("linear", "linear"), ("decibel", "db"), ("Power", "linear")]
)
def test_unit_of_sentinel1(stated: str, unit: str) -> None:
    scene = read(item("a", **{"s1:unit": stated}), Sentinel1())
    assert (scene.unit, scene.unit_source) == (unit, "item")
    forced = read(item("a", **{"s1:unit": stated}), Sentinel1(unit="db"))
    assert (forced.unit, forced.unit_source) == ("db", "manifest")
    banded = item("a", **{"s1:unit": None})
    banded["assets"]["vv"]["raster:bands"] = [{"unit": stated}]
    assert read(banded, Sentinel1()).unit == unit


@pytest.mark.parametrize("stated", [None, "K"])
def test_an_unstated_unit_is_refused(stated: str | None) -> None:
    with pytest.raises(InputError, match=r"item a: .*unit.*; set s1.unit to linear or db"):
        read(item("a", **{"s1:unit": stated}), Sentinel1())


def test_polarisations() -> None:
    full = item("a", **{"s1:unit": "linear"})
    assert read(full, Sentinel1()).polarisations == ("VV", "VH")
    lone = json.loads(json.dumps(full))
    del lone["assets"]["vh"]
    assert read(lone, Sentinel1()).polarisations == ("VV",)
    lone["properties"]["sar:polarizations"] = ["VV", "VH"]
    with pytest.raises(InputError, match="no asset for band VH"):
        read(lone, Sentinel1())
    cross = full | {"assets": {"hh": {"href": "hh.tif"}, "hv": {"href": "hv.tif"}}}
    assert read(cross, Sentinel1()).polarisations == ("HH", "HV")
    other = full | {"assets": {"gamma0_vv": {"href": "a"}, "gamma0_vh": {"href": "b"}}}
    with pytest.raises(InputError, match=r"set s1\.assets"):
        read(other, Sentinel1())
    mapped = read(other, Sentinel1(assets={"VV": "gamma0_vv", "VH": "gamma0_vh"}))
    assert [asset.href for asset in mapped.bands] == ["a", "b"]


def test_nodata_of_item_before_manifest() -> None:
    one = item("a", **{"s1:unit": "linear"})
    assert read(one, Sentinel1()).nodata is None
    assert read(one, Sentinel1(nodata=-9999)).nodata == -9999
    one["assets"]["vv"]["raster:bands"] = [{"nodata": -32768}]
    assert read(one, Sentinel1(nodata=-9999)).nodata == -32768
    one["assets"]["vv"]["raster:bands"] = [{"nodata": "nan"}]
    assert read(one, Sentinel1(nodata=-9999)).nodata is None
    assert read(item("a")).nodata == 0  # Sentinel-2 marks missing pixels with 0 in any case


def test_licence_of_item_then_collection_then_manifest() -> None:
    rule = Sentinel2(licence="mine")
    assert read(item("a"), rule).licence == "mine"
    assert read(item("a"), rule, licence="CC-BY-4.0").licence == "CC-BY-4.0"
    assert (
        read(item("a", license="proprietary"), rule, licence="CC-BY-4.0").licence == "proprietary"
    )


def test_absolute_orbit_gives_the_relative_one() -> None:
    one = item("a", **{"s1:unit": "linear", "sat:absolute_orbit": 32904})
    assert read(one, Sentinel1()).relative_orbit == 107


def test_providers_are_found_by_name() -> None:
    assert provider("generic").scene_of is scene_of
    assert provider("auto", "https://planetarycomputer.microsoft.com/api").name != "generic"
    assert provider("auto", "https://example.invalid/").name == "generic"
    with pytest.raises(InputError, match="no provider 'nowhere'; known are auto, generic"):
        provider("nowhere")


@given(
    st.dictionaries(
        st.sampled_from(
            ["platform", "s2:mgrs_tile", "s2:processing_baseline", "processing:version",
             "s2:product_uri", "s2:generation_time", "created", "sat:orbit_state", "license"]
        ),
        st.none() | st.text(max_size=12) | st.integers(0, 9999),
    )
)  # fmt: skip
def test_odd_metadata_never_breaks_reading(properties: dict[str, Any]) -> None:
    scene = read(item("a", **properties))
    assert Scene.from_json(scene.to_json()) == scene
    assert scene.orbit_state in ("", "ascending", "descending")


@pytest.mark.real
def test_planetary_computer_items(shared_data: Path) -> None:
    folder = shared_data / "stac_items" / "planetary_computer"
    optical = json.loads((folder / "sentinel-2-l2a-pc.json").read_text())[0]
    scene = read(optical)
    assert (scene.platform, scene.mgrs, scene.baseline, scene.offset) == (
        "S2B", "47XML", "05.10", -1000
    )  # fmt: skip
    assert scene.time == "2024-04-19T09:55:49Z"
    assert scene.cloud == pytest.approx(0.00219774)
    assert scene.scl is not None
    radar = json.loads((folder / "sentinel-1-rtc-pc.json").read_text())[0]
    with pytest.raises(InputError, match=r"set s1\.unit"):
        read(radar, Sentinel1())
    scene = read(radar, Sentinel1(unit="linear"))
    assert (scene.platform, scene.orbit_state, scene.relative_orbit) == ("S1A", "descending", 51)
    assert (scene.nodata, scene.quantity, scene.time) == (
        -32768, "gamma0_rtc", "2024-04-19T04:59:10Z"
    )  # fmt: skip


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
FIELDS = (
    "platform", "s2:processing_baseline", "processing:version", "s2:product_uri", "grid:code",
    "s2:mgrs_tile", "sat:relative_orbit", "sat:absolute_orbit", "sat:orbit_state", "eo:cloud_cover",
    "s2:snow_ice_percentage", "s2:boa_add_offset", "s2:generation_time", "proj:code", "proj:epsg",
    "license", "earthsearch:boa_offset_applied",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), plain), st.sampled_from(["generic", "cdse"]))
@example({"proj:code": "²"}, "generic")
def test_whatever_a_property_holds_is_read_or_refused_in_one_line(
    properties: dict[str, Any], whose: str
) -> None:
    one = item("a", **properties)
    if whose == "cdse":
        one["assets"] = {key: {"href": f"s3://eodata/{key}"} for key in
                         [f"{band}_{S2_RESOLUTION[band]}m" for band in S2_BANDS]}  # fmt: skip
    scene, refusal = None, ""
    try:
        scene = provider(whose).scene_of(one, ItemContext("s2", Sentinel2(), unsigned))
    except InputError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert (scene is None) == bool(refusal)
    if scene is not None:
        assert Scene.from_json(scene.to_json()) == scene
        assert scene.baseline == "" or 0 <= float(scene.baseline) < 99
