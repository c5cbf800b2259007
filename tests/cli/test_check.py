"""`landmark check`: exit code, words and JSON on a small harmonized dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import run as run_program
from harmonize.indexing import build_index
from harmonize.licences import SourceTerms
from harmonize.publishing import Publication, publish
from landmark.dataset import Dataset
from tests.harmonize.datasets import manifest, square, write


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    from harmonize.gathering import gather

    # All of it is one scene and one pass: blocks keep ground, pairs and (none here) events apart.
    rules = manifest(splits={"block_km": 3.6, "groups": ["pair"]})
    dataset = write(tmp_path_factory.mktemp("check") / "data", square(12), rules)
    names = sorted(path.stem for path in dataset.patches.glob("*.parquet"))
    gathered = gather(dataset, names, terms=SourceTerms.of(rules))
    index = build_index(gathered.table, rules)
    publish(dataset, Publication(rules, gathered.sources, index.table, index.warnings), [])
    return dataset


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process; give its answer, or its one line of error."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        assert run_program(list(map(str, arguments))) == code
        said = capsys.readouterr()
        return said.err if code == 2 else said.out

    return run


ALLOWED = ("--allow", "scene", "--allow", "datatake", "--allow", "event", "--label-drift", "1")


def test_shared_scenes_fail_and_are_named(run: Callable[..., str], dataset: Dataset) -> None:
    text = run("check", dataset.root, code=1)
    assert "FAIL scene: 1 of 1 scenes are shared" in text
    assert "scene scene: " in text
    assert "ok   pair: 0 of " in text
    assert "ok   distance" in text
    assert "the split fails on" in text


def test_what_is_allowed_does_not_fail(run: Callable[..., str], dataset: Dataset) -> None:
    answer = json.loads(run("check", dataset.root, *ALLOWED, "--json"))
    assert answer["ok"] is True
    by_check = {finding["check"]: finding for finding in answer["findings"]}
    assert list(by_check) == [
        *("distance", "pair", "event", "scene", "datatake", "labels", "sensors")
    ]
    assert by_check["distance"]["value"] >= by_check["distance"]["limit"]
    assert by_check["scene"]["limit"] is None


def test_the_published_style_fails_and_says_why(run: Callable[..., str], dataset: Dataset) -> None:
    text = run("check", dataset.root, "--published", *ALLOWED, code=1)
    assert "FAIL distance: patches of different splits come as near as 0 m" in text
    assert "a model has seen what it is asked for" in text
    assert "FAIL pair:" in text
    assert "the same ground at nearly the same time" in text


def test_a_foreign_split_is_audited(
    run: Callable[..., str], dataset: Dataset, tmp_path: Path
) -> None:
    ids = [patch.patch_id for patch in square(12)]
    path = tmp_path / "mine.csv"
    lines = [f"{name},{'train' if i % 2 else 'test'}" for i, name in enumerate(ids)]
    path.write_text("patch_id,split\n" + "\n".join(lines) + "\n")
    answer = json.loads(run("check", dataset.root, "--splits", path, "--json", code=1))
    assert answer["patches"] == {"test": 144, "train": 144}
    assert {f["check"] for f in answer["findings"] if not f["ok"]} >= {"distance", "pair"}


def test_wrong_input_is_one_line(run: Callable[..., str], dataset: Dataset, tmp_path: Path) -> None:
    assert "no such dataset" in run("check", tmp_path / "none", code=2)
    assert "cannot be read" in run("check", dataset.root, "--splits", tmp_path / "no.csv", code=2)
    both = run("check", dataset.root, "--splits", tmp_path / "no.csv", "--published", code=2)
    assert "give one of them" in both
