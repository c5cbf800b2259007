"""Thirty kills at random moments of fetch and harmonize, each resumed: not one byte differs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import command, contents, leftovers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

KILLS = 30


def test_thirty_kills_change_no_byte(
    undisturbed: Path, small_manifest: Path, new_dataset: Callable[[str], Path]
) -> None:
    """Kill, start again where it stopped, and so on; a finished dataset is followed by another."""
    chance = random.Random(20260101)
    kills = torn = number = 0
    while kills < KILLS:
        root = new_dataset(f"killed-{number}")
        number += 1
        for arguments in (("fetch", small_manifest, "--out", root), ("harmonize", root)):
            while kills < KILLS and run_and_kill(chance, root, arguments):
                kills += 1
                torn += bool(list(root.rglob("*.tmp")))
            subprocess.run(command(*arguments, "--quiet"), check=True, timeout=300)
        assert contents(root) == contents(undisturbed)
        assert leftovers(root) == []
    print(f"{kills} kills over {number} datasets; {torn} left a file half written")


def run_and_kill(chance: random.Random, root: Path, arguments: tuple[str | Path, ...]) -> bool:
    """Start a command and kill it at a random moment; return False if it had ended before.

    Two kills of three wait for some files to appear: a clock alone would mostly hit imports.
    """
    process = subprocess.Popen(
        command(*arguments, "--quiet", "--workers", "2"), start_new_session=True
    )
    try:
        if chance.random() < 1 / 3:
            wait_until(process, time.monotonic() + chance.uniform(0.5, 8))
        else:
            wait_for_files(process, root, chance.randint(1, 6))
            wait_until(process, time.monotonic() + chance.uniform(0, 0.1))
        if process.poll() is not None:
            assert process.returncode == 0
            return False
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_files(process: subprocess.Popen[bytes], root: Path, count: int) -> None:
    """Return when so many new files were begun or finished, or the process has ended."""
    folders = ("patches", "labels", "shards")
    seen = {path for folder in folders for path in (root / folder).rglob("*")}
    deadline = time.monotonic() + 120
    while process.poll() is None:
        now = {path for folder in folders for path in (root / folder).rglob("*")}
        if len(now - seen) >= count:
            return
        assert time.monotonic() < deadline
        time.sleep(0.003)


def wait_until(process: subprocess.Popen[bytes], moment: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=max(0.0, moment - time.monotonic()))
