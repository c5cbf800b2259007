"""Throughput and memory of a training step on a CUDA device, by precision and parts of a step.

Needs a CUDA device; without one it says so and ends with code 2, and nothing is written.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from baselines.closp import Closp, ModelConfig
from baselines.distributed import Processes
from baselines.encoders import choose_backbones
from baselines.objectives.base import Drawn, Material
from baselines.objectives.building import build_objective
from baselines.optimisation import build_optimiser
from baselines.precision import choose_precision
from baselines.recipes import RECIPES, change
from baselines.stepping import Stepper
from baselines.text import open_text_encoder
from baselines.weights import S2_BANDS, ssl4eo_input
from benchmarks.recording import (
    Options,
    Report,
    Row,
    Subject,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from benchmarks.train_step import Captions

BATCH, STEPS = 256, 20
MODELS = ("closp-rn", "closp-vs")


def stepping(model_name: str, precision: str, accumulate: int, batch: int, steps: int) -> Subject:
    """Return the subject that takes some steps on random Sentinel-2 patches."""
    device = torch.device("cuda")
    text = open_text_encoder(RECIPES["clip"].text)
    captions = Captions(batch)
    recipe = change(
        RECIPES["clip"], "benchmark", model=model_name, precision=precision, accumulate=accumulate
    )
    bands = tuple(band for band in S2_BANDS if band != "B10")
    config = ModelConfig(
        kind="embedding",
        backbones={"s2": choose_backbones(model_name, recipe.size)["s2"]},
        dim=384,
        temperature=recipe.temperature,
        text_projection=False,
        inputs={"s2": ssl4eo_input("s2", bands, 1e-4, 0)},
        text=text.config,
    )
    model = Closp(config, text).to(device)
    stepper = Stepper(
        model,
        build_objective(Material(recipe, {"s2": captions}, text, device)),
        recipe,
        build_optimiser(model, recipe.lr, recipe.weight_decay),
        Processes(0, 1, device),
        choose_precision(precision, device),
    )
    stepper.freeze(frozenset())
    random = np.random.default_rng(0)
    stored = torch.from_numpy(random.integers(1, 6000, (batch, 12, 120, 120)).astype(np.uint16))
    drawn = Drawn({"s2": np.arange(batch)})

    def run() -> tuple[float, dict[str, float]]:
        torch.cuda.reset_peak_memory_stats()
        for number in range(steps):
            images = model.prepare("s2", stored.to(device))
            stepper.step({"s2": images}, drawn, number, recipe.lr)
        torch.cuda.synchronize()
        return float(batch * steps), {"peak_mb": torch.cuda.max_memory_allocated() / 1e6}

    return timed(run)


def measure(options: Options) -> list[Row]:
    """Return the rows of all models."""
    batch, steps = (32, 3) if options.quick else (BATCH, STEPS)
    rows = []
    versions = package_versions("torch", "timm")
    versions["device"] = torch.cuda.get_device_name()
    for name in MODELS:
        measured = interleaved(
            {
                "auto": stepping(name, "auto", 1, batch, steps),
                "float32": stepping(name, "float32", 1, batch, steps),
                "auto-in-4-parts": stepping(name, "auto", 4, batch, steps),
            },
            runs=options.runs,
        )
        for metric, value in (
            ("samples_per_s", lambda one: one.per_s),
            ("peak_mb", lambda one: one.values["peak_mb"]),
        ):
            rows += compare(
                "train_gpu",
                f"{name}-b{batch}",
                measured,
                metric,
                value,
                subject="auto",
                versions=versions,
            )
    return rows


def main() -> None:
    """Run the benchmark."""
    options = parse_options(__doc__, runs=5)
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured", file=sys.stderr)
        raise SystemExit(2)
    write_results(
        Report(
            "train_gpu",
            "Training step on a GPU",
            measure(options),
            text=(__doc__ or "").strip(),
            not_measured=("decoding", "several devices"),
        ),
        options,
    )


if __name__ == "__main__":
    main()
