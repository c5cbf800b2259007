"""A run that is killed, split or moved yields the bytes of a run that was left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import command, contents, leftovers, run, run_json

pytestmark = pytest.mark.integration
MakeDataset = Callable[[str], Path]


def fetched(root: Path) -> dict[str, bytes]:
    return {
        name: data
        for name, data in contents(root).items()
        if not name.startswith(("labels/", "shards/"))
    }


def test_again_does_nothing(undisturbed: Path, small_manifest: Path) -> None:
    before = contents(undisturbed)
    again = run_json("fetch", small_manifest, "--out", undisturbed)
    assert again["shards"] == 0
    assert again["shards_skipped"] > 4
    assert run_json("harmonize", undisturbed)["shards"] == 0
    assert contents(undisturbed) == before
    assert leftovers(undisturbed) == []


@pytest.mark.parametrize("group", [False, True], ids=["process alone", "whole group"])
def test_killed_and_run_again(
    group: bool, undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("killed")
    process = subprocess.Popen(
        command("fetch", small_manifest, "--out", root, "--quiet", "--workers", "1"),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list((root / "patches").glob("*.json")):
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    done = len(list((root / "patches").glob("*.json")))
    total = len(list((undisturbed / "patches").glob("*.json")))
    assert 1 <= done < total
    assert run_json("fetch", small_manifest, "--out", root)["shards"] == total - done
    assert fetched(root) == fetched(undisturbed)
    assert leftovers(root) == []


def test_interrupted_says_how_to_resume(small_manifest: Path, new_dataset: MakeDataset) -> None:
    root = new_dataset("interrupted")
    process = subprocess.Popen(
        command("fetch", small_manifest, "--out", root, "--quiet", "--workers", "1"),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((root / "patches").glob("*.json")):
        assert process.poll() is None
        time.sleep(0.002)
    process.terminate()
    _, message = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "again" in message
    assert "Traceback" not in message
    assert leftovers(root) == []


def test_other_directory_and_workers(
    undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("other")
    run("fetch", small_manifest, "--out", root, "--quiet", "--workers", "3")
    run("harmonize", root, "--quiet", "--workers", "1")
    assert contents(root) == contents(undisturbed)


def test_parts_equal_one_run(
    undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("parts")
    run("fetch", small_manifest, "--out", root, "--plan", "--quiet")
    written = [
        run_json("fetch", small_manifest, "--out", root, "--part", f"{part}/3")["shards"]
        for part in (1, 2, 3)
    ]
    assert min(written) > 0
    assert run_json("fetch", small_manifest, "--out", root)["shards"] == 0
    assert fetched(root) == fetched(undisturbed)
    for part in (1, 2, 3):
        run("harmonize", root, "--part", f"{part}/3", "--quiet")
    run("harmonize", root, "--quiet")
    assert contents(root) == contents(undisturbed)


def test_moved_dataset(undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset) -> None:
    root = new_dataset("before")
    run("fetch", small_manifest, "--out", root, "--quiet")
    moved = root.with_name("after")
    root.rename(moved)
    run("harmonize", moved, "--quiet")
    assert contents(moved) == contents(undisturbed)
    assert run_json("fetch", small_manifest, "--out", moved)["shards"] == 0


def test_dask_writes_the_same_bytes(
    undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("dask")
    run("fetch", small_manifest, "--out", root, "--quiet", "--cluster", "local", "--workers", "2")
    assert fetched(root) == fetched(undisturbed)


def test_a_damaged_shard_is_named_and_made_again(
    undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("damaged")
    shutil.copytree(undisturbed, root, dirs_exist_ok=True)
    victim = root / "patches" / "s2-00001.parquet"
    victim.unlink()
    victim.with_suffix(".json").unlink()
    assert run_json("fetch", small_manifest, "--out", root)["shards"] == 1
    assert contents(root) == contents(undisturbed)


def test_replan_keeps_unchanged_shards(
    undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset, tmp_path: Path
) -> None:
    from tests.commands import write_manifest

    root = new_dataset("replanned")
    shutil.copytree(undisturbed, root, dirs_exist_ok=True)
    other = write_manifest(tmp_path / "other.yaml", s1=None)
    message = run("fetch", other, "--out", root, code=2)
    assert "s1" in message
    assert "--replan" in message
    before = {p.name for p in (undisturbed / "patches").glob("s2-*.parquet")}
    # Pairs go with the other sensor, so shards whose rows named a partner are made again;
    # with pairing out of the way nothing of Sentinel-2 changes.
    third = write_manifest(tmp_path / "third.yaml", queries={"min_relevant": 3})
    answer = run_json("fetch", third, "--out", root, "--replan")
    assert answer["shards"] == 0
    assert {p.name for p in (root / "patches").glob("s2-*.parquet")} == before
