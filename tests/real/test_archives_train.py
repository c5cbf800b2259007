"""Every archive at hand, through the program: fetch, harmonize, train, evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from cli.main import run
from landmark.dataset import Dataset
from landmark.dataset import open as open_dataset
from tests.real import repacked

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

RADAR: dict[str, Any] = {"s1": {"quantity": "unknown"}}
BOTH: dict[str, Any] = {**RADAR, "s2": {}}
INHERITED: dict[str, Any] = {"labels": [{"kind": "archive", "tile_level": "present"}]}
#: The miniatures hold few places: blocks of one patch, no buffer between them.
SMALL_BLOCKS: dict[str, Any] = {"splits": {"block_km": 1.2, "buffer_cells": 0}}


@dataclass(frozen=True)
class Case:
    """One archive, and what has to come of it.

    Attributes:
        archive: What the manifest says of it; `href` is relative to the shared data.
        manifest: The rest of the manifest.
        patches: Made.
        holes: Not made.
        units: How the evidence for the unit of Sentinel-1 begins, over all its patches.
        classes: Present among the labels.
        make: Lays the archive out from real pieces, where the shared data has another layout.
    """

    archive: dict[str, Any]
    manifest: dict[str, Any]
    patches: int
    units: set[str]
    classes: set[str]
    holes: int = 0
    make: Callable[[Path, Path], Path] | None = None


CASES = {
    "reben": Case(
        {"format": "reben", "href": "reben"},
        {
            **RADAR,
            "s2": {"bands": ["B02", "B03", "B04", "B08"]},
            "labels": [{"kind": "reference-map"}, {"kind": "archive"}],
        },
        patches=180,
        units={"values: db"},
        classes={"Water", "Trees", "Crops", "Built"},
    ),
    "reben_12band": Case(
        {"format": "reben", "href": "reben_12band"},
        # No map of the seven patches is there: BigEarthNet's own names decide.
        {**BOTH, "splits": {"method": "random", "train": 0.5, "val": 0, "corpus": 0.5}},
        patches=7,
        holes=9,
        units={"values: db"},
        classes={"Trees", "Crops"},
    ),
    "bigearthnet-v1": Case(
        {"format": "bigearthnet-v1"},
        # Three places: blocks keep the two sensors of each together.
        {**BOTH, "splits": {**SMALL_BLOCKS["splits"], "train": 0.6, "val": 0, "corpus": 0.4}},
        patches=6,
        units={"values: db"},
        classes={"Crops"},
        make=repacked.bigearthnet_v1,
    ),
    "cabuar": Case(
        {
            "format": "cabuar",
            "href": "archives/cabuar",
            "nominal_place": {"epsg": 32610, "x_min": 200_000, "y_max": 4_400_000},
            "nominal_date": "2020-01-01",
        },
        # The bands that are of 20 m, as CaBuAr's pixels are: nothing is resampled.
        {
            "s2": {"bands": ["B05", "B06", "B07", "B8A", "B11", "B12"]},
            "splits": {"method": "source"},
        },
        patches=448,
        units=set(),
        classes={"Burned Area"},
    ),
    "mmflood": Case(
        {"format": "mmflood", "href": "archives/mmflood"},
        {**RADAR, "splits": {"method": "source"}},
        patches=16,
        units={"values: linear"},
        classes={"Flooded Area"},
    ),
    "sen12flood": Case(
        {"format": "sen12flood", "href": "archives/sen12flood"},
        {**BOTH, **INHERITED, **SMALL_BLOCKS},
        patches=20,
        units={"values: db"},
        classes={"Flooded Area"},
    ),
    "sen12flood-stac": Case(
        {"format": "sen12flood"},
        {**BOTH, **INHERITED, **SMALL_BLOCKS},
        patches=20,
        units={"values: db"},
        classes={"Flooded Area"},
        make=repacked.sen12flood_stac,
    ),
    "quakeset": Case(
        {"format": "quakeset", "href": "archives/quakeset", "nominal_date": "2020-01-01"},
        {**RADAR, **INHERITED, "splits": {"method": "source"}},
        patches=121,
        units={"values: linear"},
        classes={"Earthquake Damage"},
    ),
    "sen1floods11": Case(
        {"format": "sen1floods11"},
        # Parts of the Nigerian chip have no Sentinel-1.
        {**BOTH, "patches": {"min_valid": 0.5}, "splits": {"method": "source"}},
        patches=28,
        units={"values: db"},
        classes={"Water"},
        make=repacked.sen1floods11,
    ),
    "crisislandmark": Case(
        {"format": "crisislandmark", "href": "archives/crisislandmark"},
        {
            **BOTH,
            "patches": {"min_valid": 0},
            "splits": {"method": "source"},
            "queries": {"source": "published"},
        },
        patches=50,
        units={"values: db", "values: linear"},
        classes={"Burned Area", "Earthquake Damage", "Flooded Area"},
    ),
}


Answer = Callable[..., Any]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command in this process and return its JSON."""

    def run_one(*words: str | Path) -> Any:
        code = run([*map(str, words), "--quiet", "--json"])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)

    return run_one


@pytest.mark.parametrize("name", CASES)
def test_an_archive_becomes_a_dataset_that_trains(
    name: str, shared_data: Path, tmp_path: Path, answer: Answer
) -> None:
    case = CASES[name]
    href = (
        case.make(shared_data, tmp_path / "archive")
        if case.make is not None
        else shared_data / case.archive["href"]
    )
    asked = {
        "name": name,
        "catalog": {"kind": "archive", "archives": [{**case.archive, "href": str(href)}]},
        "grid": "source",
        "labels": [{"kind": "archive"}],
        "queries": {"min_relevant": 1},
        **case.manifest,
    }
    manifest, root = tmp_path / "manifest.yaml", tmp_path / "data"
    manifest.write_text(yaml.safe_dump(asked))

    fetched = answer("fetch", manifest, "--out", root, "--max-failed", "100%", "--workers", "1")
    assert (fetched["patches"], fetched["failures"]) == (case.patches, case.holes)
    harmonized = answer("harmonize", root, "--workers", "1")
    assert harmonized["queries"] > 0
    answer("train-baseline", root, "--epochs", "1", "--batch", "16", "--set", "size=30")
    rows = answer("evaluate", root)
    assert {row["run"] for row in rows} >= {"clip", "baseline:random"}
    scores = [row["value"] for row in rows if row["value"] is not None]
    assert scores
    assert all(0 <= score <= 1 for score in scores)

    dataset = Dataset(root)
    assert (dataset.root / "runs" / "clip" / "model.safetensors").is_file()
    found: set[str] = set()
    evidence: set[str] = set()
    with open_dataset(root) as opened:
        for patch_id in opened:
            row = opened.row(patch_id)
            found |= set(row["labels"])
            source = row["provenance"]["unit_source"]
            if row["sensor"] == "s1":
                evidence.add(source.partition(",")[0])
                assert "median" in source
            else:
                assert source == "archive"
                assert row["provenance"]["offset_evidence"] in ("agrees", "inconclusive", "")
    assert found >= case.classes
    assert evidence == case.units
    assert pq.read_metadata(dataset.index).num_rows == case.patches


@pytest.mark.parametrize("name", ["crisislandmark", "crisislandmark-published"])
def test_the_corpus_is_built_from_its_five_archives_by_one_manifest(
    name: str,
    shared_data: Path,
    tmp_path: Path,
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The built-in manifests as they are; of CaBuAr only the smaller file keeps the test short."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archives" / "cabuar").mkdir(parents=True)
    (tmp_path / "archives" / "reben").symlink_to(shared_data / "reben_12band")
    fires = shared_data / "archives" / "cabuar" / "chabud_test.h5"
    (tmp_path / "archives" / "cabuar" / fires.name).symlink_to(fires)
    for archive in ("mmflood", "sen12flood", "quakeset"):
        (tmp_path / "archives" / archive).symlink_to(shared_data / "archives" / archive)
    root = tmp_path / "data"
    fetched = answer("fetch", name, "--out", root, "--max-failed", "100%")
    assert (fetched["patches"], fetched["failures"]) == (7 + 128 + 16 + 20 + 121, 9)
    assert answer("harmonize", root)["queries"] > 0
    answer("train-baseline", root, "--epochs", "1", "--batch", "16", "--set", "size=30")
    assert answer("evaluate", root)
    with open_dataset(root) as opened:
        rows = [opened.row(patch_id) for patch_id in opened]
    assert {row["provenance"]["provider"] for row in rows} == {
        *("reben", "cabuar", "mmflood", "sen12flood", "quakeset"),
    }
    # Both units are in the sources; all of the corpus is dB.
    units = {row["provenance"]["unit_source"][:12] for row in rows if row["sensor"] == "s1"}
    assert units == {"values: db, ", "values: line"}
    damaged = {
        row["provenance"]["provider"] for row in rows if "Earthquake Damage" in row["labels"]
    }
    # Damage is known of whole tiles: only the published choices give it to every patch.
    assert damaged == (set() if name == "crisislandmark" else {"quakeset"})
