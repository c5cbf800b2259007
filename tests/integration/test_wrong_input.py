"""Wrong input ends with one clear line, exit code 2, and nothing made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run, write_manifest

pytestmark = pytest.mark.integration


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
def test_manifest(changes: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.yaml", **changes)
    line = run("fetch", manifest, "--out", tmp_path / "data", "--quiet", code=2)
    for word in said:
        assert word in line
    assert not (tmp_path / "data").exists()


def test_missing_manifest(tmp_path: Path) -> None:
    line = run("fetch", tmp_path / "none.yaml", "--out", tmp_path / "data", code=2)
    assert "none.yaml" in line
    assert "demo" in run("fetch", "dmeo", "--out", tmp_path / "data", code=2)
    assert not (tmp_path / "data").exists()


def test_unreadable_image(small_sandbox: Path, tmp_path: Path) -> None:
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
    line = run("fetch", manifest, "--out", tmp_path / "data", "--quiet", code=2)
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
    name: str, more: list[str], next_command: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = run(name, empty, *more, code=2)
    assert f"landmark {next_command}" in line
    assert list(empty.iterdir()) == []
    assert "no such dataset directory" in run(name, tmp_path / "nowhere", *more, code=2)


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
def test_options(options: list[str], small_manifest: Path, tmp_path: Path) -> None:
    line = run("fetch", small_manifest, "--out", tmp_path / "data", "--quiet", *options, code=2)
    assert options[0] in line
    assert not (tmp_path / "data").exists()
