"""Two processes, and steps computed in parts, against one process with the same global batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.checkpoints import run_files
from baselines.distributed import gather_rows, join
from baselines.logbook import read_metrics
from baselines.text import TextEncoder, open_text_encoder
from baselines.training import TrainOptions, train
from landmark.errors import InputError
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable
from tests.baselines.test_published_checkpoints import tiny_bert

#: Every recipe, and the further terms; small enough to be trained three times.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("clip", {}),
    "containment": ("containment", {"subcaptions": 8}),
    "soft": ("soft", {}),
    "siglip": ("siglip", {}),
    "dcl": ("dcl", {}),
    "multilabel": ("multilabel", {}),
    "concepts": ("concepts", {"subcaptions": 8}),
    "published": ("published-tuned", {}),
    "terms": ("clip", {"location_weight": 0.5, "pair_weight": 0.5, "hard_negatives": 4}),
    "frozen": ("clip", {"freeze_images": True}),
    "accumulated": ("dcl", {"accumulate": 2}),
    "text": ("published-tuned", {"train_text": True}),
}


def options(name: str, count: str, **fields: Any) -> TrainOptions:
    """A backbone with LayerNorm: with BatchNorm each process has statistics of its own share."""
    recipe, settings = VARIANTS[name]
    return TrainOptions(
        recipe=recipe,
        model="test_convnext",
        epochs=1,
        batch=8,
        device="cpu",
        run=f"{count}-{name}",
        threads=1,
        settings={"size": 60, **settings, **fields},
    )


def encoder(name: str, root: Path) -> TextEncoder:
    """A tower of words, or one that can be trained."""
    return open_text_encoder(str(root / "bert"), "cls") if name == "text" else WordEncoder()


WORKER = """
import sys
from pathlib import Path
from baselines.training import train
from landmark.progress import Silent
from tests.baselines.test_distributed import VARIANTS, encoder, options

root = Path(sys.argv[1])
for name in VARIANTS:
    train(root, options(name, "two"), Silent(), text_encoder=encoder(name, root))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_learnable(tmp_path_factory.mktemp("two"), {"train": (15, 11), "val": (6, 6)})
    (folder / "bert").mkdir()
    tiny_bert(folder / "bert")
    return folder


@pytest.mark.integration
@pytest.mark.timeout(1500)
def test_two_processes_train_what_one_trains(root: Path) -> None:
    port = _free_port()
    workers = [_start(root, rank, port) for rank in range(2)]
    try:
        outputs = [worker.communicate(timeout=1200)[0].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(outputs)
    for name in VARIANTS:
        _assert_equal(root, name, "two")


@pytest.mark.integration
@pytest.mark.parametrize("name", VARIANTS)
def test_steps_in_parts_train_what_whole_steps_train(root: Path, name: str) -> None:
    parts = options(name, "parts", accumulate=3)
    train(root, parts, Silent(), text_encoder=encoder(name, root))
    _assert_equal(root, name, "parts")


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.rand(3, 2)
    assert gather_rows(rows, [3]) is rows


def test_a_device_that_is_not_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'cuda': no CUDA device is usable here; use cpu"):
        join("cuda")
    assert join(None).device.type == "cpu"


def _assert_equal(root: Path, name: str, other: str) -> None:
    """Compare a run with the same trained by one process in whole steps."""
    if not run_files(root, f"one-{name}").model.is_file():
        train(root, options(name, "one"), Silent(), text_encoder=encoder(name, root))
    files = [run_files(root, f"{count}-{name}") for count in ("one", other)]
    rows = [read_metrics(own.metrics) for own in files]
    losses = [[row["loss"] for row in own if row["kind"] == "step"] for own in rows]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3, err_msg=name)
    weights = [load_file(own.model) for own in files]
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][key], rtol=0.02, atol=2e-3)


def _start(root: Path, rank: int, port: int) -> subprocess.Popen[bytes]:
    """Start one process as torchrun does."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        # Only loopback: a host's own name may stand for an address nothing listens on. And one
        # thread each, or the processes wait for each other's cores.
        "GLOO_SOCKET_IFNAME": _loopback(),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _loopback() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
