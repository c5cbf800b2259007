"""Tasks on a real dask cluster of this machine: killed workers, deadly tasks, bounded memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import distributed
import psutil
import pytest

from landmark import jobs
from landmark.errors import InputError
from tests.commands import command, contents, leftovers, run

# Generous: what is waited for takes seconds on an idle machine, minutes on one that is not.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
MakeDataset = Callable[[str], Path]


def visit(task: tuple[str, str]) -> str:
    """Note the visit, then do what the task says."""
    folder, what = task
    with (Path(folder) / what).open("a") as file:
        file.write("x")
    if what == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hungry":
        hold = [bytearray(50_000_000) for _ in range(200)]  # 10 GB, beyond any worker's limit
        return str(len(hold))
    if what == "wrong":
        raise InputError("wrong: mend it")
    if what == "broken":
        raise RuntimeError("broken")
    time.sleep(0.3)
    return what


def test_tasks_that_kill_their_worker_are_quarantined(tmp_path: Path) -> None:
    names = ["deadly", "hungry", *(f"good{number}" for number in range(8))]
    found, said = run_local(tmp_path, names)
    assert sorted(found) == sorted(names)
    for poison in ("deadly", "hungry"):
        assert isinstance(found[poison].error, jobs.DeadlyTaskError)
    assert all(found[name].value == name for name in names[2:])
    assert visits(tmp_path)["deadly"] >= 2
    assert any("2 worker processes, 2 GB of memory each" in line for line in said)
    assert any("dashboard: http://127.0.0.1" in line for line in said)


def allocation(name: str) -> str:
    return os.environ.get(name, "")


def test_workers_keep_memory_they_will_want_again() -> None:
    names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"]
    found = {one.task: one.value for one in jobs.run(allocation, names, workers=1, cluster="local")}
    # More than any piece a shard task asks for, and less than what matters to a laptop.
    assert all(1 << 24 <= int(found[name] or 0) <= 1 << 27 for name in names)


def test_what_is_wrong_is_tried_once_and_what_breaks_again(tmp_path: Path) -> None:
    # Without deadly tasks: with a worker its results die, and then anything is run again.
    found, _ = run_local(tmp_path, ["wrong", "broken", "good"])
    assert isinstance(found["wrong"].error, InputError)
    assert str(found["wrong"].error) == "wrong: mend it"
    assert str(found["broken"].error) == "broken"
    assert found["good"].value == "good"
    assert visits(tmp_path) == {"wrong": 1, "broken": 3, "good": 1}


def leave(task: tuple[str, str]) -> str:
    """At the first visit, close this worker and its nanny for good."""
    folder, name = Path(task[0]), task[1]
    first = not any(folder.iterdir())
    (folder / name).touch()
    if first:
        worker = distributed.get_worker()
        worker.loop.add_callback(partial(worker.close, nanny=True))
        time.sleep(5)
    return name


@pytest.mark.timeout(600)
def test_workers_that_are_gone_for_good_are_started_again(tmp_path: Path) -> None:
    tasks = [(str(tmp_path), name) for name in ("a", "b")]
    outcomes = jobs.run(leave, tasks, workers=1, cluster="local")
    assert sorted(str(outcome.value) for outcome in outcomes) == ["a", "b"]


def run_local(
    folder: Path, names: list[str]
) -> tuple[dict[str, jobs.Outcome[tuple[str, str], str]], list[str]]:
    """Visit on two workers; return the outcome of each name, and what was said on the way."""
    said: list[str] = []
    tasks = [(str(folder), name) for name in names]
    outcomes = jobs.run(visit, tasks, workers=2, cluster="local", note=said.append)
    return {outcome.task[1]: outcome for outcome in outcomes}, said


def visits(folder: Path) -> dict[str, int]:
    """Return how often each task was run."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def worker_processes(parent: int) -> list[psutil.Process]:
    """Return the processes that run tasks: the children of dask's nannies."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("step", ["fetch", "harmonize"])
def test_a_killed_worker_changes_no_byte(
    step: str, undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("killed")
    workers = ("--cluster", "local", "--workers", "2")
    run("fetch", small_manifest, "--out", root, "--plan", "--quiet")
    arguments: tuple[str | Path, ...] = ("fetch", small_manifest, "--out", root)
    folder = root / "patches"
    if step == "harmonize":
        run("fetch", small_manifest, "--out", root, "--quiet")
        arguments, folder = ("harmonize", root), root / "labels"
    process = subprocess.Popen(command(*arguments, "--quiet", *workers))
    try:
        deadline = time.monotonic() + 600
        while not list(folder.glob("*.json")):
            assert process.poll() is None, "ended before a worker could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        victims = worker_processes(process.pid)
        assert victims
        victims[-1].kill()
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
        process.wait()
    if step == "fetch":
        run("harmonize", root, "--quiet", *workers)
    assert contents(root) == contents(undisturbed)
    assert leftovers(root) == []
