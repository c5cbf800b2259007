from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmonize.archive_labels import (
    ArchiveFindings,
    Shipped,
    clc_code,
    judge_shipped,
    open_archive_source,
)
from harmonize.corine import CLC_CODES
from harmonize.crosswalks import load_crosswalk
from harmonize.published import classes_in
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import LabelRules, LabelSource
from landmark.scenes import SceneEvent, SourceGrid
from landmark.taxonomy import LAND_COVER_MASK, bit, mask_of
from tests.landmark.archives.made import make_cabuar, write_tif

FRAME = Frame("p", 32632, 500_000, 4_900_000)
FLOODED, BURNED = bit("Flooded Area"), bit("Burned Area")


def shipped(provider: str, *tags: str, level: str = "tile", **more: object) -> Shipped:
    values = {"item": "x", "mask": None, "grid": None, "event": None, **more}
    return Shipped(provider, tags=tags, level=level, **values)  # type: ignore[arg-type]


def judge(
    one: Shipped | None, rules: LabelRules | None = None, valid: float = 1.0, **settings: object
) -> ArchiveFindings:
    entry = LabelSource(kind="archive", **settings)  # type: ignore[arg-type]
    source = open_archive_source(entry, "labels.0")
    return judge_shipped(source, [one], [FRAME], [valid], rules or LabelRules())


def masks(found: ArchiveFindings) -> tuple[int, int]:
    return int(found.classes.label_mask[0]), int(found.classes.known_mask[0])


def test_a_tile_level_positive_is_not_inherited_unless_asked_for() -> None:
    flooding, dry = shipped("sen12flood", "flooding"), shipped("sen12flood", "no-flooding")
    assert masks(judge(flooding)) == (0, 0)
    assert masks(judge(flooding, tile_level="present")) == (FLOODED, FLOODED)
    assert masks(judge(dry)) == (0, FLOODED)
    assert judge(flooding).native == [["sen12flood:flooding"]]
    assert np.isnan(judge(flooding, tile_level="present").classes.fractions).all()
    assert masks(judge(shipped("cabuar", "pre-fire"))) == (0, BURNED)
    with pytest.raises(InputError, match="none of sen12flood"):
        judge(shipped("sen12flood", "wet"))


def test_patches_without_archive_labels_stay_unknown() -> None:
    found = judge(None)
    assert masks(found) == (0, 0)
    assert (found.native, found.records, found.events) == ([[]], [[]], [[]])


def mask_file(path: Path, flooded_rows: int, code: int = 1, rest: int = 0) -> str:
    from affine import Affine

    values = np.full((1, 120, 120), rest, np.uint8)
    values[:, :flooded_rows] = code
    write_tif(path, values, Affine(10, 0, 500_000, 0, -10, 4_900_000), 32632)
    return str(path)


@pytest.mark.parametrize(
    ("rows", "rest", "valid", "expected"),
    [
        (0, 0, 1.0, (0, FLOODED)),
        (60, 0, 1.0, (FLOODED, FLOODED)),
        (1, 0, 1.0, (FLOODED, FLOODED)),  # 120 px are 1.2 ha
        (0, 255, 1.0, (0, 0)),  # nothing was analysed
        (0, 0, 0.4, (0, 0)),  # the image has no data on more than half of it
        (60, 255, 1.0, (FLOODED, FLOODED)),
    ],
)
def test_masks_give_shares_of_what_was_looked_at(
    tmp_path: Path, rows: int, rest: int, valid: float, expected: tuple[int, int]
) -> None:
    path = mask_file(tmp_path / "m.tif", rows, rest=rest)
    event = SceneEvent("flood", "EMSR1", "2020-05-01", phase="during")
    found = judge(shipped("mmflood", mask=path, event=event), valid=valid)
    assert masks(found) == expected
    share = found.classes.fractions[0, 9]
    assert np.isnan(share) if expected == (0, 0) else share == pytest.approx(rows / 120)
    assert found.events[0][0]["id"] == "EMSR1"
    assert ("mmflood:1" in found.native[0]) == (rows > 0)


def test_a_mask_with_other_codes_is_refused(tmp_path: Path) -> None:
    path = mask_file(tmp_path / "m.tif", 5, code=7)
    with pytest.raises(InputError, match="holds code 7"):
        judge(shipped("mmflood", mask=path))


def test_surface_water_is_water_not_flood(tmp_path: Path) -> None:
    path = mask_file(tmp_path / "m.tif", 12)
    found = judge(shipped("sen1floods11", mask=path))
    assert masks(found) == (bit("Water"), bit("Water"))
    assert found.classes.fractions[0, 0] == pytest.approx(0.1)


def test_hdf5_masks_are_taken_pixel_by_pixel(tmp_path: Path) -> None:
    path = make_cabuar(tmp_path / "a.hdf5", t={})  # burned: 60 x 60 px of 20 m
    grid = SourceGrid(32632, (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_900_000.0), 240, 240)
    found = judge(shipped("cabuar", mask=f"{path}#t/mask", grid=grid))
    assert masks(found) == (BURNED, BURNED)
    assert found.classes.fractions[0, 10] == 1.0
    moved = SourceGrid(32632, (20.0, 0.0, 499_400.0, 0.0, -20.0, 4_900_600.0), 240, 240)
    half = judge(shipped("cabuar", mask=f"{path}#t/mask", grid=moved))
    assert half.classes.fractions[0, 10] == pytest.approx(0.25)


def test_names_of_corine_and_of_the_taxonomy_decide_land_cover() -> None:
    one = shipped("crisislandmark", "Mixed forest", "Water bodies", level="image", item="benv2s2/x")
    found = judge(one)
    assert masks(found) == (mask_of(["Trees", "Water"]), LAND_COVER_MASK)
    assert found.records[0][0]["crosswalk"] == "corine-published"
    crisis = shipped("crisislandmark", "flooded area", "crops", level="image", item="mmflood/x")
    assert masks(judge(crisis)) == (FLOODED | bit("Crops"), LAND_COVER_MASK | FLOODED)
    dry = shipped("crisislandmark", "crops", level="image", item="sen1flood/x")
    assert masks(judge(dry)) == (bit("Crops"), LAND_COVER_MASK | FLOODED)
    absent = judge(dry, LabelRules(outside_events="absent"))
    assert masks(absent)[1] == 0xFFF
    with pytest.raises(InputError, match="neither a class of corine-published"):
        judge(shipped("crisislandmark", "Forest", level="image"))


def test_a_mosaic_code_leaves_its_small_parts_unknown() -> None:
    name = "Complex cultivation patterns"  # 0.75 Crops, 0.25 Grass
    found = judge(shipped("bigearthnet-v1", name, level="image"), crosswalk="corine")
    assert masks(found) == (bit("Crops"), LAND_COVER_MASK & ~bit("Grass"))


def test_every_corine_name_is_found_whatever_its_punctuation() -> None:
    crosswalk = load_crosswalk("corine-published", "corine", CLC_CODES)
    for row in crosswalk.rows:
        assert clc_code(row.name, crosswalk) == row.code
        assert clc_code(row.name.upper().replace(",", " -"), crosswalk) == row.code
    assert clc_code("Transitional woodland/shrub", crosswalk) == 324


def test_reben_labels_are_kept_as_words_where_a_map_says_more() -> None:
    found = judge(shipped("reben", "Arable land", level="image", mapped=True))
    assert masks(found) == (0, 0)
    assert found.native == [["reben:Arable land"]]


def test_reben_labels_decide_where_the_map_is_missing() -> None:
    found = judge(shipped("reben", "Arable land", "Mixed forest", level="image"))
    # The 19 names drop roads, quarries, bare rock and more: absence of these is not concluded.
    open_bits = mask_of(["Built", "Bare", "Grass", "Water"])
    present = mask_of(["Crops", "Trees"])
    assert masks(found) == (present, LAND_COVER_MASK & ~open_bits)
    assert found.native == [["reben:Arable land", "reben:Mixed forest"]]
    assert found.records[0][0]["crosswalk"] == "ben-19"
    with pytest.raises(InputError, match="neither a class of ben-19"):
        judge(shipped("reben", "Lava", level="image"))


def test_published_texts_name_their_classes() -> None:
    assert classes_in("shrub and scrub. trees") == ("Shrub and Scrub", "Trees")
    assert classes_in("a picture of water") == ()
    assert classes_in("") == ()
