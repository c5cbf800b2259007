"""One synthetic Earth for all tests of the sandbox."""

from __future__ import annotations

from pathlib import Path

import pystac
import pystac.validation
import pytest

from landmark.sandbox import ensure_sandbox
from tests.landmark.sandbox.reading import SEED, Counting


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the whole Earth is no unit test."""
    for item in items:
        if {"sandbox", "items"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def progress() -> Counting:
    return Counting()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, progress: Counting) -> Path:
    folder = tmp_path_factory.mktemp("made") / "sandbox"
    return ensure_sandbox(folder, "small", SEED, progress).parent


@pytest.fixture(scope="session")
def items(sandbox: Path) -> dict[str, pystac.Item]:
    catalog = pystac.Catalog.from_file(str(sandbox / "catalog.json"))
    return {item.id: item for item in catalog.get_items(recursive=True)}
