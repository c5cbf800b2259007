from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.checkpoints import run_files
from baselines.curves import read_metrics
from baselines.distributed import gather_rows, join
from baselines.training import TrainOptions, train
from landmark.errors import InputError
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable

#: A backbone with LayerNorm: with BatchNorm each process has statistics of its own share.
ONE = TrainOptions(recipe="clip", model="test_convnext", run="one", epochs=2, batch=8, device="cpu")

WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
from baselines.training import train
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder
from tests.baselines.test_distributed import ONE

root, recipe = Path(sys.argv[1]), sys.argv[2]
options = replace(ONE, recipe=recipe, run=f"two-{recipe}")
train(root, options, Silent(), text_encoder=WordEncoder())
"""


@pytest.mark.parametrize("recipe", ["clip", "multilabel"])
def test_two_processes_train_what_one_trains(tmp_path: Path, recipe: str) -> None:
    make_learnable(tmp_path, {"train": (15, 11), "val": (6, 6)})
    port = _free_port()
    workers = [_start(tmp_path, recipe, rank, port) for rank in range(2)]
    train(
        tmp_path,
        TrainOptions(**{**vars(ONE), "recipe": recipe}),
        Silent(),
        text_encoder=WordEncoder(),
    )
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0, out.decode()
    one, two = run_files(tmp_path, "one"), run_files(tmp_path, f"two-{recipe}")
    losses = [
        [row["loss"] for row in read_metrics(files.metrics) if row["kind"] == "step"]
        for files in (one, two)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    first, second = load_file(one.model), load_file(two.model)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0.02, atol=2e-3)


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.rand(3, 2)
    assert gather_rows(rows, [3]) is rows


def test_a_device_that_is_not_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'cuda': no CUDA device is usable here; use cpu"):
        join("cuda")
    assert join(None).device.type == "cpu"


def _start(root: Path, recipe: str, rank: int, port: int) -> subprocess.Popen[bytes]:
    """Start one process as torchrun does."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), recipe],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
