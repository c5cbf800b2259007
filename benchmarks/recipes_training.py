"""One cell of the study: a recipe trained on a seed's patches, and what it says of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.augmentation import turn
from baselines.closp import Closp, ModelConfig
from baselines.distributed import Processes
from baselines.encoders import BackboneConfig
from baselines.objectives.base import Drawn, Material, Objective, Places
from baselines.objectives.building import build_objective, objective_class
from baselines.optimisation import build_optimiser, rate
from baselines.partners import PairedOrder
from baselines.precision import choose_precision
from baselines.recipes import Recipe, resolve
from baselines.sampling import Order, class_weights
from baselines.scaling import SensorInput
from baselines.stepping import Stepper
from baselines.text import TextConfig, TextEncoder, TextTower
from benchmarks.recipes_corpus import Corpus, Patches
from benchmarks.recipes_variants import Variant, vary
from landmark.commits import atomic_path

BACKBONE = "test_resnet"
#: What a cell's option changes of its recipe.
OPTIONS: MappingProxyType[str, Mapping[str, Any]] = MappingProxyType(
    {
        "plain": {},
        "cls": {"pooling": "cls"},
        "mean": {"pooling": "mean"},
        "mean-balanced": {"pooling": "mean", "balanced": True},
        "balanced": {"balanced": True},
        "hidden": {"head_hidden": 512},
        "share-weights": {"share_weights": True},
        "share-targets": {"share_targets": True},
        "agree-0.05": {"agreement": 0.05},
        "agree-0.5": {"agreement": 0.5},
    }
)
#: Short name of a row -> its recipe in the program.
RECIPES_OF = MappingProxyType(
    {
        "published": "published-tuned",
        "clip": "clip",
        "multilabel": "multilabel",
        "concepts": "concepts",
    }
)

_BATCH = 256


@dataclass(frozen=True)
class Cell:
    """What one training is.

    Attributes:
        corpus: `sandbox` or `real`.
        trunk: `features` (frozen) or `net` (end to end).
        recipe: Key of `RECIPES_OF`.
        option: Key of `OPTIONS`.
        lr: Peak learning rate.
        seed: Of weights, order and data.
        epochs: Passes over the larger sensor's training patches.
        batch: Patches per sensor and step.
    """

    corpus: str
    trunk: str
    recipe: str
    option: str
    lr: float
    seed: int
    epochs: int
    batch: int

    @property
    def name(self) -> str:
        """Name of the cell's files; says all of it."""
        return (
            f"{self.corpus}-{self.trunk}-{self.recipe}-{self.option}-lr{self.lr:g}"
            f"-seed{self.seed}-{self.epochs}x{self.batch}"
        )


@dataclass(frozen=True)
class Trained:
    """What came out of a cell.

    Attributes:
        outputs: `{split}/{sensor}/probabilities` (n, 12) and `.../vectors` (n, dim), as far as the
            recipe gives them, of the rows of val and corpus, and `scale`.
        cpu_s: CPU seconds of the training steps, all threads.
        updates: Optimiser steps.
        images: Patches seen, of both sensors, with repeats.
    """

    outputs: Mapping[str, NDArray[np.float32]]
    cpu_s: float
    updates: int
    images: int


class CachedEncoder:
    """A text encoder that embeds each text once in its life; the vectors lie in a file.

    Args:
        encoder: What embeds.
        path: Where vectors are kept between processes; None: nowhere.
    """

    def __init__(self, encoder: TextEncoder, path: Path | None = None) -> None:
        self._encoder = encoder
        self._path = path
        self._held = self._read()

    def _read(self) -> dict[str, NDArray[np.float32]]:
        if self._path is None or not self._path.is_file():
            return {}
        with np.load(self._path, allow_pickle=False) as held:
            return dict(zip(held["texts"].tolist(), held["vectors"], strict=True))

    @property
    def config(self) -> TextConfig:
        """Of the encoder behind."""
        return self._encoder.config

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return (n, width) float32 unit vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._held]
        if new:
            self._held.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._held[text] for text in texts])

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return what the encoder behind does."""
        return self._encoder.tokenise(texts)

    def tower(self) -> TextTower:
        """Return what the encoder behind does."""
        return self._encoder.tower()

    def save(self) -> None:
        """Write the vectors, with those another process wrote meanwhile."""
        self._held = self._read() | self._held
        if self._path is not None and self._held:
            with atomic_path(self._path) as temporary, temporary.open("wb") as stream:
                np.savez(
                    stream,
                    allow_pickle=False,
                    texts=np.array(list(self._held)),
                    vectors=np.stack(list(self._held.values())),
                )


@dataclass
class _Labels:
    """As much of a sensor's patches as an objective looks at (`Labelled`)."""

    label_mask: NDArray[np.uint16]
    known_mask: NDArray[np.uint16]
    captions: list[str]
    caption_id: NDArray[np.intp]

    @classmethod
    def of(cls, patches: Patches, rows: NDArray[np.intp] | None = None) -> _Labels:
        """Return the labels of some rows; None: of all."""
        own = np.arange(len(patches)) if rows is None else rows
        return cls(
            patches.label_mask[own],
            patches.known_mask[own],
            patches.captions,
            patches.caption_id[own],
        )


@dataclass(frozen=True)
class _Setting:
    """A cell with everything it means."""

    cell: Cell
    recipe: Recipe
    variant: Variant
    balanced: bool
    usable: Mapping[str, NDArray[np.intp]]


def train(cell: Cell, corpus: Corpus, texts: Mapping[str, TextEncoder]) -> Trained:
    """Train one cell and describe all patches of its corpus.

    Args:
        cell: What.
        corpus: On which patches.
        texts: Pooling -> text encoder.
    """
    setting = _setting(cell, corpus)
    recipe = setting.recipe
    text = None if recipe.objective == "multilabel" else texts[recipe.pooling]
    torch.manual_seed(cell.seed)
    model = _model(setting, corpus, text)
    places = {s: Places(np.zeros((len(p), 2)), p.partner) for s, p in corpus.sensors.items()}
    device = torch.device("cpu")
    labels = {sensor: _Labels.of(own) for sensor, own in corpus.sensors.items()}
    material = Material(recipe, labels, text, device, places)
    objective: Objective = build_objective(material)
    if setting.variant.any:
        objective = vary(material, setting.variant, corpus.sensors)
    began = time.process_time()
    updates, images = _steps(setting, corpus, model, objective, places)
    spent = time.process_time() - began
    return Trained(_outputs(model, cell, corpus), spent, updates, images)


def _setting(cell: Cell, corpus: Corpus) -> _Setting:
    changes = dict(OPTIONS[cell.option])
    balanced = bool(changes.pop("balanced", False))
    hidden = changes.pop("head_hidden", 0)
    variant = Variant(
        share_weights=changes.pop("share_weights", False),
        share_targets=changes.pop("share_targets", False),
        agreement=changes.pop("agreement", 0.0),
    )
    recipe = resolve(
        RECIPES_OF[cell.recipe],
        # Of one kind for all rows: the published recipe has flips only.
        augment="square" if cell.trunk == "net" else "none",
        epochs=cell.epochs,
        batch=cell.batch,
        seed=cell.seed,
        lr=cell.lr,
        head_hidden=hidden,
        **changes,
    )
    train = corpus.rows("train", cell.seed)
    able = objective_class(recipe)
    usable = {s: r[able.usable(_Labels.of(corpus.sensors[s], r))] for s, r in train.items()}
    return _Setting(cell, recipe, variant, balanced, usable)


def _model(setting: _Setting, corpus: Corpus, text: TextEncoder | None) -> Closp:
    recipe = setting.recipe
    inputs = {
        sensor: SensorInput(
            sensor=sensor,
            bands=tuple(map(str, range(own.images.shape[1]))),
            scale=1.0,
            nodata=None,
            mean=(0.0,) * own.images.shape[1],
            std=(1.0,) * own.images.shape[1],
        )
        for sensor, own in corpus.sensors.items()
    }
    config = ModelConfig(
        kind=objective_class(recipe).kind,
        backbones={
            sensor: BackboneConfig(name=BACKBONE, size=own.images.shape[-1])
            for sensor, own in corpus.sensors.items()
        },
        dim=recipe.dim if text is None else text.config.width,
        temperature=recipe.temperature,
        learn_temperature=recipe.objective != "published",
        text_projection=False,
        head_hidden=recipe.head_hidden,
        inputs=inputs,
        text=None if text is None else text.config,
    )
    model = Closp(config, text)
    if setting.cell.trunk == "features":
        model.backbones = nn.ModuleDict()
        model.projections = nn.ModuleDict(
            {s: nn.Linear(own.features.shape[1], config.dim) for s, own in corpus.sensors.items()}
        )
    return model


def _steps(
    setting: _Setting,
    corpus: Corpus,
    model: Closp,
    objective: Objective,
    places: Mapping[str, Places],
) -> tuple[int, int]:
    cell, recipe, usable = setting.cell, setting.recipe, setting.usable
    order = _order(setting, corpus, places)
    total = recipe.epochs * order.steps
    device = torch.device("cpu")
    stepper = Stepper(
        model,
        objective,
        recipe,
        build_optimiser(model, recipe.lr, recipe.weight_decay),
        Processes(0, 1, device),
        choose_precision("float32", device),
    )
    stepper.freeze(frozenset())
    images = 0
    for number in range(total):
        epoch, step = divmod(number, order.steps)
        rows = {s: usable[s][drawn] for s, drawn in order.batch(epoch, step).items()}
        inputs = {}
        for sensor, own in rows.items():
            given = _given(corpus.sensors[sensor], own, cell.trunk)
            if cell.trunk == "net":
                given = turn(given, order.symmetries(epoch, step, sensor, len(own)))
            inputs[sensor] = given
            images += len(own)
        stepper.step(inputs, Drawn(rows, (epoch, step)), number, rate(number, total, recipe))
    return total, images


def _order(setting: _Setting, corpus: Corpus, places: Mapping[str, Places]) -> Order:
    usable, recipe = setting.usable, setting.recipe
    if setting.variant.agreement:
        return PairedOrder(usable, places, recipe.batch, recipe.seed)
    weights = None
    if setting.balanced:
        weights = {s: class_weights(corpus.sensors[s].label_mask[r]) for s, r in usable.items()}
    counts = {sensor: len(rows) for sensor, rows in usable.items()}
    return Order(counts, recipe.batch, recipe.seed, weights=weights)


def _given(patches: Patches, rows: NDArray[np.intp], trunk: str) -> Tensor:
    """Return what the model is given of some rows: features, or images channels last."""
    if trunk == "features":
        return torch.from_numpy(patches.features[rows])
    images = torch.from_numpy(patches.images[rows].astype(np.float32))
    return images.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _outputs(model: Closp, cell: Cell, corpus: Corpus) -> dict[str, NDArray[np.float32]]:
    model.eval()
    found: dict[str, NDArray[np.float32]] = {}
    for split in ("val", "corpus"):
        for sensor, rows in corpus.rows(split, cell.seed).items():
            for name, values in _described(model, cell, sensor, corpus.sensors[sensor], rows):
                found[f"{split}/{sensor}/{name}"] = values
    if model.log_scale is not None:
        found["scale"] = model.scale().numpy()
    return found


def _described(
    model: Closp, cell: Cell, sensor: str, patches: Patches, rows: NDArray[np.intp]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    logits, vectors = [], []
    for start in range(0, len(rows), _BATCH):
        given = _given(patches, rows[start : start + _BATCH], cell.trunk)
        output = model({sensor: given})[sensor]
        if output.logits is not None:
            logits.append(torch.sigmoid(output.logits.float()).numpy())
        if output.vectors is not None:
            vectors.append(output.vectors.numpy())
    if logits:
        yield "probabilities", np.concatenate(logits)
    if vectors:
        yield "vectors", np.concatenate(vectors)
