"""`landmark verify` names the file of any flipped byte."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from landmark.progress import Silent
from landmark.verifying import verify
from tests.commands import run, run_json

pytestmark = pytest.mark.integration
FLIPS_PER_FILE = 3


@pytest.fixture(scope="module")
def whole(
    small_sandbox: Path, small_manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("verify") / "data"
    shutil.copytree(small_sandbox, root / "cache" / "sandbox")
    run("fetch", small_manifest, "--out", root, "--quiet")
    run("harmonize", root, "--quiet")
    return root


def test_whole_dataset_passes(whole: Path) -> None:
    answer = run_json("verify", whole)
    assert answer["ok"] is True
    assert answer["bad"] == []


def test_every_file_of_patches_and_shards_is_guarded(whole: Path) -> None:
    draw = random.Random(5)
    files = [p for name in ("patches", "labels", "shards") for p in (whole / name).rglob("*.*")]
    files = [path for path in files if path.is_file()]
    assert {"index.parquet", "index.json", "queries.jsonl", "README.md"} <= {p.name for p in files}
    for path in files:
        sound = path.read_bytes()
        for _ in range(FLIPS_PER_FILE):
            broken = bytearray(sound)
            broken[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
            path.write_bytes(broken)
            bad = verify(whole, Silent()).bad
            assert [Path(b.file).stem for b in bad] == [path.stem], path
        path.write_bytes(sound)
    assert verify(whole, Silent()).ok


def test_the_command_names_the_shard(whole: Path) -> None:
    path = sorted((whole / "shards" / "s1").glob("train-*.parquet"))[0]
    sound = path.read_bytes()
    path.write_bytes(sound[:-100] + bytes([sound[-100] ^ 1]) + sound[-99:])
    try:
        answer = run_json("verify", whole, code=1)
        assert answer["ok"] is False
        assert answer["bad"][0]["file"] == path.relative_to(whole).as_posix()
    finally:
        path.write_bytes(sound)


def test_missing_file_is_damage(whole: Path, new_dataset: Callable[[str], Path]) -> None:
    path = sorted((whole / "patches").glob("*.parquet"))[0]
    away = path.with_name("away")
    path.rename(away)
    try:
        answer = run_json("verify", whole, code=1)
        assert answer["bad"] == [
            {"file": path.relative_to(whole).as_posix(), "cause": "is missing"}
        ]
    finally:
        away.rename(path)
