"""Wrong input ends with one clear line, exit code 2, and nothing made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run as run_program
from tests.commands import run, write_manifest

pytestmark = pytest.mark.integration

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command in this process, which need not import everything again; give its one line."""

    def refused(*arguments: str | Path) -> str:
        assert run_program(list(map(str, arguments))) == 2
        said = capsys.readouterr().err
        (line,) = [line for line in said.splitlines() if line.strip()]
        assert "Traceback" not in line
        return line

    return refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sheds": {"rows": 3}}, ["m.yaml:", "sheds", "shards"]),
        ({"splits": {"trian": 0.6}}, ["m.yaml:", "trian", "train"]),
        ({"time": {"start": "2022-05-02", "end": "2022-05-01"}}, ["m.yaml", "after", "swap"]),
        ({"area": {"bbox": [190.0, 1.0, 191.0, 2.0]}}, ["m.yaml", "longitude", "190"]),
        ({"area": {"bbox": [1.0, 89.0, 2.0, 91.0]}}, ["m.yaml", "latitude", "91"]),
        ({"area": {"bbox": [-70.0, -20.0, -69.0, -19.0]}}, ["no", "bbox"]),
        ({"time": {"start": "1999-01-01", "end": "1999-01-02"}}, ["no", "1999-01-01"]),
        ({"s1": None, "s2": None}, ["m.yaml", "names no sensor"]),
        ({"catalog": {"kind": "local", "href": "nowhere.json"}}, ["nowhere.json"]),
        (
            {"s2": {"collections": ["sentinel-2-l2a"], "bands": ["B10"]}},
            ["m.yaml", "B10", "unknown band"],
        ),
    ],
)
def test_manifest(
    refused: Refused, changes: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "m.yaml", **changes)
    line = refused("fetch", manifest, "--out", tmp_path / "data", "--quiet")
    for word in said:
        assert word in line
    assert not (tmp_path / "data").exists()


def test_missing_manifest(tmp_path: Path) -> None:
    line = run("fetch", tmp_path / "none.yaml", "--out", tmp_path / "data", code=2)
    assert "none.yaml" in line
    assert "demo" in run("fetch", "dmeo", "--out", tmp_path / "data", code=2)
    assert not (tmp_path / "data").exists()


def test_unreadable_image(refused: Refused, small_sandbox: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    shutil.copytree(small_sandbox, catalog)
    victim = sorted(catalog.rglob("B02.tif"))[0]
    victim.write_bytes(b"not a GeoTIFF")
    manifest = write_manifest(
        tmp_path / "m.yaml",
        catalog={"kind": "local", "href": str(catalog / "catalog.json")},
        labels=[],
        events=[],
    )
    line = refused("fetch", manifest, "--out", tmp_path / "data", "--quiet")
    assert victim.parent.name in line
    assert "B02" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "more", "next_command"),
    [
        ("harmonize", [], "fetch"),
        ("train-baseline", [], "harmonize"),
        ("evaluate", [], "harmonize"),
        ("search", ["water"], "harmonize"),
        ("verify", [], "fetch"),
        ("explain", ["x"], "fetch"),
        ("report", [], "fetch"),
    ],
)
def test_commands_on_an_empty_directory(
    refused: Refused, name: str, more: list[str], next_command: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = refused(name, empty, *more)
    assert f"landmark {next_command}" in line
    assert list(empty.iterdir()) == []
    assert "no such dataset directory" in refused(name, tmp_path / "nowhere", *more)


@pytest.mark.parametrize(
    "options",
    [
        ["--part", "0/3"],
        ["--part", "4/3"],
        ["--part", "x"],
        ["--limit", "0"],
        ["--workers", "0"],
        ["--max-failed", "many"],
        ["--cluster", "nowhere.yaml"],
    ],
)
def test_options(
    refused: Refused, options: list[str], small_manifest: Path, tmp_path: Path
) -> None:
    line = refused("fetch", small_manifest, "--out", tmp_path / "data", "--quiet", *options)
    assert options[0] in line
    assert not (tmp_path / "data").exists()
