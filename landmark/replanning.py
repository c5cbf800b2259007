"""Keeping shards over a new plan: what did not change is renamed, not made again."""

from __future__ import annotations

from collections.abc import Mapping

from landmark.commits import mark_path, remove_committed, write_atomic
from landmark.dataset import Dataset
from landmark.ledger import committed_shards

_PARKED = ".moving"


def sweep_parked(dataset: Dataset) -> None:
    """Remove data files that a killed `keep_unchanged` left without mark and name."""
    for path in dataset.patches.glob(f"*{_PARKED}"):
        path.unlink(missing_ok=True)


def keep_unchanged(dataset: Dataset, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Move committed shards to the names a new plan gives the same rows; return old -> new.

    A shard's bytes do not depend on its name, so a shard whose fingerprint stands in the new
    plan is renamed. The mark is taken away first and put back last: a crash in between leaves
    data files without marks, which the next run makes again.

    Args:
        dataset: The dataset.
        fingerprints: Shard name in the new plan -> fingerprint of its rows.
    """
    by_fingerprint = {fingerprint: name for name, fingerprint in fingerprints.items()}
    moves: dict[str, str] = {}
    for name, mark in committed_shards(dataset).marks.items():
        target = by_fingerprint.get(mark.fingerprint)
        if target is not None and target != name and target not in moves.values():
            moves[name] = target
    staged = {}
    for old, new in moves.items():
        path = dataset.patch_shard(old)
        mark_bytes = mark_path(path).read_bytes()
        mark_path(path).unlink()
        parked = path.with_suffix(_PARKED)
        path.replace(parked)
        staged[new] = (parked, mark_bytes)
    for new, (parked, mark_bytes) in staged.items():
        path = dataset.patch_shard(new)
        remove_committed(path)
        parked.replace(path)
        write_atomic(mark_path(path), mark_bytes)
    return moves
