"""Chips classified by fake models that know the classes by their brightness."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

from baselines.chips import ChipRow, chips_table, class_table, classify_chips
from landmark.errors import InputError

BANDS = ("B02", "B03", "B04")
CLASSES = ("Dark", "Medium", "Bright")
COUNT = 20


class Model:
    """Vectors tell how bright a chip is; texts are what `seen` says of them."""

    def __init__(self, seen: dict[str, int]) -> None:
        self.seen = seen

    def _levels(self, batch: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[(batch.mean(axis=(1, 2, 3)) / 1000 - 1).astype(int)]

    def encode_images(self, sensor: str, batch: np.ndarray) -> np.ndarray:
        assert sensor == "s2"
        assert batch.shape[1:] == (3, 120, 120)
        return self._levels(batch)

    def class_logits(self, sensor: str, batch: np.ndarray) -> np.ndarray:
        return 4 * self._levels(batch)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[[self.seen[text] for text in texts]]


def run_of(kind: str, seen: dict[str, int]) -> Any:
    loaded = SimpleNamespace(
        name="r",
        kind=kind,
        model=Model(seen),
        config=SimpleNamespace(recipe_name="clip"),
        bands={"s2": BANDS},
    )
    return lambda root, name: loaded


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    folder = tmp_path / "chips"
    for level, name in enumerate(CLASSES, start=1):
        (folder / name).mkdir(parents=True)
        for number in range(COUNT):
            image = (1000 * level + generator.integers(100, 900, (3, 64, 64))).astype(np.uint16)
            georeference = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
            with rasterio.open(
                folder / name / f"{number}.tif", "w", driver="GTiff", count=3, height=64, width=64,
                dtype="uint16", crs="EPSG:32632", transform=georeference,
            ) as target:  # fmt: skip
                target.write(image)
    (tmp_path / "data" / "runs" / "r").mkdir(parents=True)
    return folder


SEEN = {"dark": 0, "medium": 1, "bright": 2}


def pick(rows: tuple[ChipRow, ...], run: str, task: str, name: str | None = None) -> ChipRow:
    (row,) = [r for r in rows if (r.run, r.task, r.class_name) == (run, task, name)]
    return row


def test_a_seeing_run_beats_what_it_is_compared_with(chips: Path, tmp_path: Path) -> None:
    found = classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=run_of("embedding", SEEN))
    zero, probe = (pick(found.rows, "r", task) for task in ("zero_shot", "probe"))
    assert (zero.accuracy, zero.chips) == (1.0, 60)
    assert (probe.accuracy, probe.chips) == (1.0, 30)
    assert probe.low is not None
    assert 0.85 < probe.low < 1
    for task in ("zero_shot", "probe"):
        assert pick(found.rows, "baseline:random", task).accuracy == pytest.approx(1 / 3)
        assert pick(found.rows, "baseline:majority", task).accuracy == pytest.approx(1 / 3)
    # Brightness is all there is to see: band statistics tell it as well, and the row says so.
    assert pick(found.rows, "baseline:band_statistics", "probe").accuracy == 1.0
    assert [pick(found.rows, "r", "probe", name).chips for name in CLASSES] == [10, 10, 10]
    assert any("60 chips, 20 of the smallest class" in note for note in found.notes)
    raw = json.loads(found.path.read_text())
    assert found.path == tmp_path / "data" / "runs" / "r" / "chips.json"
    assert raw == [row.to_dict() for row in found.rows]
    assert set(raw[0]) == {
        "run", "recipe", "task", "class", "chips", "accuracy", "low", "high",
    }  # fmt: skip
    assert chips_table(found.rows).rows[0][:4] == ("zero-shot", "r", 60, 1.0)
    assert class_table(found.rows).rows[0] == ("Bright", 1.0, 1.0)


def test_zero_shot_follows_the_texts_and_the_probe_does_not(chips: Path, tmp_path: Path) -> None:
    swapped = {"dark": 2, "medium": 1, "bright": 0}
    open_run = run_of("embedding", swapped)
    found = classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=open_run)
    assert pick(found.rows, "r", "zero_shot").accuracy == pytest.approx(1 / 3)
    assert pick(found.rows, "r", "zero_shot", "Dark").accuracy == 0
    assert pick(found.rows, "r", "probe").accuracy == 1.0
    texts = tmp_path / "texts.csv"
    texts.write_text("class,text\nDark,bright\nBright,dark\n")
    again = classify_chips(tmp_path / "data", chips, "r", BANDS, texts, open_run=open_run)
    assert pick(again.rows, "r", "zero_shot").accuracy == 1.0


def test_a_class_model_is_probed_only_and_says_so(chips: Path, tmp_path: Path) -> None:
    found = classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=run_of("classes", SEEN))
    assert {row.task for row in found.rows} == {"probe"}
    assert pick(found.rows, "r", "probe").accuracy == 1.0
    assert any("zero-shot is left out" in note for note in found.notes)


def test_the_same_split_every_time(chips: Path, tmp_path: Path) -> None:
    open_run = run_of("embedding", SEEN)
    first = classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=open_run)
    before = first.path.read_bytes()
    classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=open_run)
    assert first.path.read_bytes() == before


def test_wrong_input_is_one_clear_line(chips: Path, tmp_path: Path) -> None:
    open_run = run_of("embedding", SEEN)
    with pytest.raises(InputError, match="not the 13 of the list"):
        classify_chips(tmp_path / "data", chips, "r", open_run=open_run)
    with pytest.raises(InputError, match="not trained on sensor s1"):
        classify_chips(tmp_path / "data", chips, "r", ("VV", "VH"), open_run=open_run)
    for path in list((chips / "Dark").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match="class Dark has one chip"):
        classify_chips(tmp_path / "data", chips, "r", BANDS, open_run=open_run)
