from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
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
ONE = TrainOptions(model="test_convnext", epochs=2, batch=8, device="cpu")
RECIPES = ("clip", "multilabel")

WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from baselines.training import train
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder
from tests.baselines.test_distributed import ONE, RECIPES

torch.distributed.init_process_group("gloo")
for recipe in RECIPES:
    options = replace(ONE, recipe=recipe, run=f"two-{recipe}")
    train(Path(sys.argv[1]), options, Silent(), text_encoder=WordEncoder())
torch.distributed.destroy_process_group()
"""


@pytest.mark.integration
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (15, 11), "val": (6, 6)})
    port = _free_port()
    workers = [_start(tmp_path, rank, port) for rank in range(2)]
    try:
        for recipe in RECIPES:
            options = replace(ONE, recipe=recipe, run=f"one-{recipe}")
            train(tmp_path, options, Silent(), text_encoder=WordEncoder())
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    for recipe in RECIPES:
        one, two = (run_files(tmp_path, f"{count}-{recipe}") for count in ("one", "two"))
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


def _start(root: Path, rank: int, port: int) -> subprocess.Popen[bytes]:
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
        [sys.executable, "-c", WORKER, str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
