from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from baselines.logbook import Logbook, read_metrics
from landmark.errors import InputError

STEP = {"kind": "step", "epoch": 1, "step": 1, "loss": 0.5, "lr": 1e-3}
EPOCH = {"kind": "epoch", "epoch": 1, "step": 1, "loss": 0.5, "val": {"s1": 0.25}, "val_map": 0.25}


def test_rows_are_there_as_soon_as_they_are_told(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "metrics.jsonl")
    log.start()
    log.add(STEP)
    assert read_metrics(tmp_path / "metrics.jsonl") == [STEP]
    log.close()


def test_a_resumed_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps({**STEP, "step": n}) + "\n" for n in range(5))
    path.write_text(whole[:-7])  # killed in the middle of the fifth line
    assert [row["step"] for row in read_metrics(path)] == [0, 1, 2, 3]
    log = Logbook(path)
    log.start(3)
    log.add({**STEP, "step": 3})
    log.add({**STEP, "step": 4})
    log.close()
    assert path.read_text() == whole


def test_tensorboard_shows_what_the_log_holds(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rows in (0, 1):  # a second sitting shows the kept row once
        log = Logbook(tmp_path / "metrics.jsonl", tmp_path / "tensorboard")
        log.start(rows)
        log.add(STEP if not rows else EPOCH)
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {tag: len(events.Scalars(tag)) for tag in events.Tags()["scalars"]} == {
        "train/loss": 1,
        "train/lr": 1,
        "val/map_s1": 1,
        "val/val_map": 1,
    }


def test_without_tensorboard_the_wish_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'landmark\[tensorboard\]'"):
        Logbook(tmp_path / "metrics.jsonl", tmp_path / "tensorboard").start()
