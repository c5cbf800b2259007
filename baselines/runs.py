"""Which run a command means."""

from __future__ import annotations

from pathlib import Path

from baselines.checkpoints import list_runs
from landmark.dataset import Dataset
from landmark.errors import InputError

DEFAULT_RUN = "clip"


def choose_run(root: Path, run: str | None) -> str:
    """Return the run named, or else `clip`, or else the only one.

    Raises:
        InputError: No run is complete, or several are and none is named.
    """
    if run is not None:
        return run
    dataset = Dataset(root)
    dataset.require(dataset.shards, "harmonize")
    runs = list_runs(root)
    if DEFAULT_RUN in runs:
        return DEFAULT_RUN
    if not runs:
        raise InputError(f"{root}: holds no trained run; run `landmark train-baseline` first")
    if len(runs) > 1:
        raise InputError(f"{root}: holds several runs; name one with --run: {', '.join(runs)}")
    return runs[0]
