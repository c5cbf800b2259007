"""What all tests share: real data and system tools with one skip rule, and no network.

Tests that need the shared real data (`LANDMARK_TEST_DATA`) or a program of the system skip and
say what is missing; with `LANDMARK_REQUIRE_SERVERS=1` (set by `.ci/run`) the same lack fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
import pytest_socket

from landmark.throttle import shared_throttle

# Before anything imports numpy or torch, and for the commands that tests start: on tiny arrays
# more threads only wait for each other, and two test processes share the processors.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A slow machine is no fault of the code: no test is judged by time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LOOPBACK = ["127.0.0.1", "::1", "localhost"]


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it where everything is required to be there."""
    if os.environ.get("LANDMARK_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{reason} (LANDMARK_REQUIRE_SERVERS=1)", pytrace=False)
    pytest.skip(reason)


def find_tool(name: str, package: str) -> Path:
    """Return the path of a program of the system, else skip or fail naming its apt package."""
    # Servers such as nginx or slurmctld lie in sbin, which a plain user's PATH leaves out.
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=search)
    if found is None:
        lacking(f"needs the program {name!r}: apt-get install {package}")
    return Path(found)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test pulls the plug, so none can see what `fsync` is for; commands still call it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _whole_allowance() -> Iterator[None]:
    """Give back what a job of several processes left to this one: tests run in any order."""
    yield
    shared_throttle().divide(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared real data, from `LANDMARK_TEST_DATA` (there is no default)."""
    folder = os.environ.get("LANDMARK_TEST_DATA", "")
    if not folder:
        lacking("needs the shared real data: set LANDMARK_TEST_DATA to its folder")
    path = Path(folder)
    if not path.is_dir():
        lacking(f"LANDMARK_TEST_DATA={folder} is no folder")
    return path


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str, str], Path]:
    """Function (program, apt package) -> path; skips or fails where the program is missing."""
    return find_tool


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say what `-n auto` means: a process per processor this one may use, at most eight."""
    return min(len(os.sched_getaffinity(0)), 8)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Block every connection but loopback; skip tests marked `gpu` where there is no device."""
    pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    if item.get_closest_marker("gpu") is not None and not _has_gpu():
        pytest.skip("needs a CUDA device")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
