"""The small sandbox is written once a session and copied into each dataset's cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from landmark.progress import Silent
from landmark.sandbox import ensure_sandbox
from tests.commands import run, write_manifest


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sandbox") / "sandbox"
    ensure_sandbox(folder, "small", 3, Silent())
    return folder


@pytest.fixture(scope="session")
def small_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("manifest") / "small.yaml")


@pytest.fixture
def new_dataset(small_sandbox: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of dataset directories that hold the sandbox already."""

    def make(name: str) -> Path:
        root = tmp_path / name
        shutil.copytree(small_sandbox, root / "cache" / "sandbox")
        return root

    return make


@pytest.fixture(scope="session")
def undisturbed(
    small_sandbox: Path, small_manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A dataset made by one process that nothing happened to; not to be changed."""
    root = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(small_sandbox, root / "cache" / "sandbox")
    run("fetch", small_manifest, "--out", root, "--quiet")
    run("harmonize", root, "--quiet")
    return root
