from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from landmark import pixels
from landmark.catalog import find_scenes
from landmark.errors import InputError, LandmarkError
from landmark.manifest import S2_BANDS, Sentinel2
from landmark.progress import Silent
from landmark.scene_facts import complete_scenes, finest_band, settle_offset
from landmark.scenes import BandAsset
from landmark.sources import Root, Roots
from tests.landmark.made_scenes import (
    BRIGHT,
    DARK,
    DARK_SHIFTED,
    files_say,
    grid,
    item,
    manifest,
    roots,
    scene,
    touch_assets,
    write_items,
)

NEW, OLD, UNKNOWN = "05.09", "02.14", ""


@pytest.mark.parametrize(
    ("baseline", "stated", "rule", "low", "offset", "evidence", "refused"),
    [
        # What the baseline says, and pixels that agree, say nothing, or contradict.
        (NEW, -1000, {}, DARK_SHIFTED, -1000, "agrees", False),
        (OLD, 0, {}, DARK, 0, "agrees", False),
        (NEW, -1000, {}, BRIGHT, -1000, "inconclusive", False),
        (NEW, -1000, {}, DARK, -1000, "conflicts", True),
        (OLD, 0, {}, DARK_SHIFTED, 0, "conflicts", True),
        (NEW, -1000, {"on_conflict": "trust_metadata"}, DARK, -1000, "conflicts", False),
        (NEW, -1000, {"on_conflict": "trust_pixels"}, DARK, 0, "agrees", False),
        (OLD, 0, {"on_conflict": "trust_pixels"}, DARK_SHIFTED, -1000, "agrees", False),
        # No baseline.
        (UNKNOWN, 0, {}, DARK, 0, "agrees", False),
        (UNKNOWN, 0, {}, DARK_SHIFTED, -1000, "agrees", False),
        (UNKNOWN, 0, {}, BRIGHT, 0, "inconclusive", True),
        (UNKNOWN, 0, {"unknown_baseline": "no_offset"}, BRIGHT, 0, "inconclusive", False),
        (UNKNOWN, 0, {"unknown_baseline": "no_offset"}, DARK_SHIFTED, 0, "conflicts", True),
        (UNKNOWN, 0, {"unknown_baseline": "refuse"}, DARK, 0, "", True),
        # Other rules do not need a baseline.
        (UNKNOWN, 0, {"offset": "none"}, DARK, 0, "agrees", False),
        (UNKNOWN, -1000, {"offset": "metadata"}, DARK_SHIFTED, -1000, "agrees", False),
        (UNKNOWN, -1000, {"offset": "metadata"}, DARK, -1000, "conflicts", True),
    ],
)
def test_offset_rules(
    baseline: str,
    stated: int,
    rule: dict,
    low: dict[str, float],
    offset: int,
    evidence: str,
    refused: bool,
) -> None:
    unknown = not baseline and "offset" not in rule
    source = "unknown" if unknown else "baseline"
    planned = scene(baseline=baseline, offset=stated, offset_source=source)
    done = settle_offset(planned, Sentinel2(**rule), lambda _: low)
    assert (done.scene.offset, done.scene.offset_evidence) == (offset, evidence)
    assert (done.status == "offset") == refused
    assert bool(done.reason) == refused
    assert "\n" not in done.reason


def test_the_finest_band_speaks_for_the_scene() -> None:
    assert finest_band(scene()).band == "B02"
    coarse = replace(scene(), bands=(BandAsset("B01", "a"), BandAsset("B05", "b")))
    assert finest_band(coarse).band == "B05"
    assert finest_band(scene("s1")).band == "VV"


def test_headers_fill_in_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [item(name, **{"s2:processing_baseline": OLD}) for name in "abc"]
    touch_assets(tmp_path, items)
    grids = {name: grid(west=600_000 + 1200 * i) for i, name in enumerate("abc")}
    files_say(monkeypatch, grids)
    asked = manifest(write_items(tmp_path / "items.json", items))
    located = roots(asked, tmp_path)
    scenes = find_scenes(asked, located, Silent())
    done = list(complete_scenes(scenes, asked, located, Silent()))
    assert [c.scene.grid for c in done] == list(grids.values())


def test_an_unreadable_local_file_is_wrong_input_by_name(tmp_path: Path) -> None:
    broken = item("a", **{"s2:processing_baseline": OLD})
    touch_assets(tmp_path, [broken])  # empty files
    asked = manifest(write_items(tmp_path / "items.json", [broken]))
    located = roots(asked, tmp_path)
    scenes = find_scenes(asked, located, Silent())
    with pytest.raises(InputError, match=r"a/B02\.tif") as caught:
        list(complete_scenes(scenes, asked, located, Silent()))
    assert "\n" not in str(caught.value)
    (tmp_path / "a" / "B02.tif").unlink()
    with pytest.raises(InputError, match=r"a/B02\.tif: no such file"):
        list(complete_scenes(scenes, asked, located, Silent()))


def test_an_unreadable_url_refuses_its_scene_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def header(path: str, signer: object = None) -> object:
        if "gone" in path:
            raise LandmarkError(f"{path}: 404")
        return grid()

    monkeypatch.setattr(pixels, "read_header", header)
    monkeypatch.setattr(pixels, "low_percentiles", lambda scene, resolve, signer=None: DARK)
    scenes = [
        replace(
            scene(item=name),
            grid=None,
            bands=tuple(BandAsset(band, f"https://h/{name}/{band}.tif") for band in S2_BANDS),
        )
        for name in ("gone", "there")
    ]
    api = Roots(s1=None, s2=Root("api", "https://h", ""))
    done = list(complete_scenes(scenes, manifest("x"), api, Silent()))
    assert [c.status for c in done] == ["unreadable", ""]
    assert done[0].reason == "https://h/gone/B02.tif: 404"


@pytest.mark.real
def test_offsets_of_every_real_item(shared_data: Path, tmp_path: Path) -> None:
    without_b08 = tuple(band for band in S2_BANDS if band != "B08")
    found = {}
    for collection, bands in [("sentinel-2-l2a", S2_BANDS), ("sentinel-2-l2a-60m", without_b08)]:
        asked = manifest(
            shared_data / "catalog" / "items.json",
            s2=Sentinel2(collections=(collection,), bands=bands),
        )
        located = roots(asked, tmp_path)
        scenes = find_scenes(asked, located, Silent())
        for done in complete_scenes(scenes, asked, located, Silent()):
            one = done.scene
            found[one.item] = (one.baseline, one.offset, one.offset_evidence, done.status)
    assert found == {
        "S2B_MSIL2A_20200223T032739_R018_T48QUE_20230924T183543": ("", 0, "agrees", ""),
        "S2A_MSIL2A_20220706T085611_R007_T33NZA_20220706T153419": (
            "04.00",
            -1000,
            "inconclusive",
            "",
        ),
        "S2B_MSIL2A_20200604T054639_R048_T43RCP_20200604T094332": ("02.14", 0, "agrees", ""),
        "S2B_MSIL2A_20200813T054639_R048_T43RCP_20200813T083230": ("02.14", 0, "agrees", ""),
        "S2A_MSIL2A_20170617T113321_36_85": ("", 0, "agrees", ""),
        "S2A_MSIL2A_20170617T113321_4_55": ("", 0, "agrees", ""),
        "S2A_MSIL2A_20171221T112501_56_35": ("", 0, "agrees", ""),
        "S2A_MSIL2A_20221005T115411_R023_T29UNU_20221005T164454": (
            "04.00",
            -1000,
            "agrees",
            "",
        ),
    }
