from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from landmark.errors import InputError
from landmark.locks import run_lock

HOLD = """
import sys, pathlib
from landmark.locks import run_lock
with run_lock(pathlib.Path(sys.argv[1]), "fetch"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_second_run_is_refused_by_name(tmp_path: Path) -> None:
    with run_lock(tmp_path, "fetch"):
        with pytest.raises(InputError, match=f"pid {os.getpid()}"), run_lock(tmp_path, "fetch"):
            pass
        with run_lock(tmp_path, "fetch-1of2"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_does_not_block(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"pid {holder.pid}"), run_lock(tmp_path, "fetch"):
        pass
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert (tmp_path / "fetch.lock").exists()
    with run_lock(tmp_path, "fetch"):
        pass
    assert not (tmp_path / "fetch.lock").exists()
