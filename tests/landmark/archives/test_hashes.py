"""A compact set of hashes against Python's own."""

from __future__ import annotations

import random

import pytest

from landmark.archives import hashes
from landmark.archives.hashes import Hashes


@pytest.mark.parametrize("waiting", [1, 7, 1 << 14])
def test_hashes_are_a_set(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_WAITING", waiting)
    chance = random.Random(waiting)
    known: set[int] = set()
    found = Hashes()
    for _ in range(3000):
        key = chance.choice([chance.getrandbits(64), chance.randrange(500), 2**64 - 1, 0])
        assert found.add(key) == (key not in known)
        known.add(key)
        assert key in found
        assert len(found) == len(known)
    assert all(key in found for key in known)
    assert not any(key in found for key in (501, 2**63, 2**64 - 2))
