"""CLOSP: one image encoder per sensor and a text encoder in one unit-length space.

GeoCLOSP adds a location encoder that training compares images with (never used when searching).
The same trunk with a class head serves the multi-label comparison (`kind: classes`); with a class
head and an embedding that does not shape the trunk, `kind: concepts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.encoders import BackboneConfig, build_backbone
from baselines.location import LocationConfig, LocationEncoder
from baselines.scaling import Scaling, SensorInput, check_bands, check_unit
from baselines.text import TextConfig, TextEncoder, TextTower
from baselines.threads import computing
from landmark.errors import InputError, LandmarkError
from landmark.taxonomy import CLASSES

#: Upper bound of the learned scale (1 / temperature), as in CLIP.
MAX_SCALE = 100.0
#: Dropout, and standard deviation of the noise on features, of a hidden class head (measured in a
#: study on frozen features; see docs/training.md).
_HEAD_DROPOUT = 0.5
_HEAD_NOISE = 0.3

Kind = Literal["embedding", "classes", "concepts"]


class ModelConfig(BaseModel):
    """Everything needed to build the model again before its weights are loaded.

    Attributes:
        kind: `embedding` (text and images in one space), `classes` (12 logits per image) or
            `concepts` (both).
        backbones: Sensor -> its image encoder.
        dim: Width of the space.
        temperature: Where the temperature starts.
        learn_temperature: Whether it is trained.
        bias: Where the learnable bias of sigmoid losses starts; None: there is none.
        text_projection: Whether a trained layer follows the text tower.
        train_text: Whether the text tower's weights belong to the model.
        location: The location encoder, if there is one.
        head_hidden: Width of the hidden layer of the class head; 0: none.
        inputs: What is expected of each sensor.
        text: The text tower; None for `classes`.
        classes: Class names in the order of the logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    backbones: dict[str, BackboneConfig]
    dim: int
    temperature: float
    learn_temperature: bool = True
    bias: float | None = None
    text_projection: bool
    train_text: bool = False
    location: LocationConfig | None = None
    head_hidden: int = 0
    inputs: dict[str, SensorInput]
    text: TextConfig | None
    classes: tuple[str, ...] = CLASSES


@dataclass(frozen=True)
class Output:
    """What a model gives for a batch of one sensor.

    Attributes:
        vectors: (n, dim) unit vectors; None for `classes`.
        logits: (n, 12) in taxonomy order; None for `embedding`.
    """

    vectors: Tensor | None
    logits: Tensor | None


class Closp(nn.Module):
    """Image encoders, projections and heads. A frozen text tower is held beside, not inside.

    `forward` is for training; `encode_images`, `encode_texts` and `class_logits` take and give
    numpy arrays and leave the model in eval mode.
    """

    def __init__(
        self,
        config: ModelConfig,
        text: TextEncoder | None = None,
        load: Callable[[Closp], None] | None = None,
    ) -> None:
        """Build a model.

        Args:
            config: How.
            text: Its frozen text tower, or what a trained one starts from.
            load: Loads the state of a trained model. Then its image side is built, and this asked,
                at the first image only: a search among vectors made before needs neither, and timm
                takes seconds to import.
        """
        super().__init__()
        self.config = config
        self.text = text
        self.scaling = nn.ModuleDict()
        self.backbones = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        self._frozen: frozenset[str] = frozenset()
        self._load = load
        if load is None:
            self._build_image_side()
        self.head: nn.Module | None = None
        self.embedding: nn.Linear | None = None
        self.log_scale: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        self.text_head: nn.Linear | None = None
        self.tower: TextTower | None = None
        self.location: LocationEncoder | None = None
        self.location_projection: nn.Linear | None = None
        if config.kind != "embedding":
            self.head = _class_head(config)
        if config.kind == "concepts":
            self.embedding = nn.Linear(config.dim, config.dim)
        if config.kind != "classes":
            self._build_text_side(config, text)
        if config.location is not None:
            self.location = LocationEncoder(config.location)
            self.location_projection = nn.Linear(config.location.width, config.dim)

    def _build_image_side(self) -> None:
        for sensor, expected in sorted(self.config.inputs.items()):
            chosen = self.config.backbones[sensor]
            backbone, features = build_backbone(chosen, len(expected.bands))
            self.scaling[sensor] = Scaling(expected, chosen.size)
            self.backbones[sensor] = backbone
            self.projections[sensor] = nn.Linear(features, self.config.dim)

    def complete(self) -> None:
        """Build the image side and load the state, where that was put off.

        Raises:
            LandmarkError: The state is damaged or of another model.
        """
        if self._load is None:
            return
        device = self._device()
        self._build_image_side()
        self._load(self)
        self.to(device).eval()
        self._load = None

    def _build_text_side(self, config: ModelConfig, text: TextEncoder | None) -> None:
        log_scale = torch.tensor(math.log(1.0 / config.temperature))
        self.log_scale = nn.Parameter(log_scale, requires_grad=config.learn_temperature)
        if config.bias is not None:
            self.bias = nn.Parameter(torch.tensor(config.bias))
        if config.text is None:
            raise LandmarkError("an embedding model needs a text encoder")
        if config.text_projection:
            self.text_head = nn.Linear(config.text.width, config.dim)
        elif config.text.width != config.dim:
            raise LandmarkError("dim differs from the text encoder's width: set text_projection")
        if config.train_text:
            if text is None:
                raise LandmarkError("a trained text tower needs its encoder to start from")
            self.tower = text.tower()

    @property
    def kind(self) -> Kind:
        """`embedding`, `classes` or `concepts`."""
        return self.config.kind

    def freeze(self, towers: Iterable[str]) -> None:
        """Train everything but these towers, which stay in eval mode.

        Args:
            towers: Of `s1`, `s2` (backbones), `text` and `location`.
        """
        self._frozen = frozenset(towers)
        for name, tower in self._towers().items():
            tower.requires_grad_(name not in self._frozen)
        self.train(self.training)

    @property
    def frozen(self) -> frozenset[str]:
        """The towers that are not trained."""
        return self._frozen

    def _towers(self) -> dict[str, nn.Module]:
        optional = {"text": self.tower, "location": self.location}
        towers: dict[str, nn.Module] = dict(self.backbones.items())
        return towers | {name: tower for name, tower in optional.items() if tower is not None}

    def train(self, mode: bool = True) -> Self:
        """Set training mode; frozen towers stay in eval mode (no dropout, fixed BatchNorm)."""
        super().train(mode)
        for name, tower in self._towers().items():
            if name in self._frozen:
                tower.eval()
        return self

    def prepare(self, sensor: str, stored: Tensor) -> Tensor:
        """Return network input (n, bands, size, size) of stored pixels (n, bands, 120, 120)."""
        scaled: Tensor = self.scaling[sensor](stored)
        return scaled

    def features(self, sensor: str, images: Tensor) -> Tensor:
        """Return (n, f) features of a backbone, of what `prepare` gave."""
        found: Tensor = self.backbones[sensor](images)
        return found

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Output]:
        """Return vectors and logits per sensor.

        Args:
            inputs: Sensor -> what `prepare` gave (4 axes), or what `features` gave (2 axes).
        """
        outputs = {}
        for sensor, given in inputs.items():
            features = given if given.ndim == 2 else self.features(sensor, given)
            projected = self.projections[sensor](features)
            logits = None if self.head is None else self.head(projected)
            vectors: Tensor | None = None
            if self.embedding is not None:
                # Detached: what free text asks for does not shape what the classes are read from.
                vectors = F.normalize(self.embedding(projected.detach()).float(), dim=1)
            elif self.head is None:
                vectors = F.normalize(projected.float(), dim=1)
            outputs[sensor] = Output(vectors, logits)
        return outputs

    def project_texts(self, vectors: Tensor) -> Tensor:
        """Return (n, dim) unit vectors of the text tower's (n, width) vectors."""
        if self.text_head is not None:
            vectors = self.text_head(vectors)
        return F.normalize(vectors.float(), dim=1)

    def place_vectors(self, lonlat: Tensor) -> Tensor:
        """Return (n, dim) unit vectors of (n, 2) longitudes and latitudes in degrees."""
        if self.location is None or self.location_projection is None:
            raise LandmarkError("this model has no location encoder")
        return F.normalize(self.location_projection(self.location(lonlat)).float(), dim=1)

    def scale(self) -> Tensor:
        """Return 1 / temperature, at most `MAX_SCALE`."""
        if self.log_scale is None:
            raise LandmarkError("a class model has no temperature")
        return self.log_scale.clamp(max=math.log(MAX_SCALE)).exp()

    def offset(self) -> Tensor:
        """Return the bias of sigmoid losses."""
        if self.bias is None:
            raise LandmarkError("this model was built without a bias")
        return self.bias

    def encode_images(self, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return (n, dim) float32 unit vectors of patches.

        Args:
            sensor: `s1` or `s2`.
            batch: (n, bands, 120, 120) as stored: uint16 reflectance x 10000, or float32 dB.

        Raises:
            InputError: The model knows no such sensor, was trained on other bands, or the pixels
                are in another unit.
            LandmarkError: The model gives classes, not vectors.
        """
        if self.kind == "classes":
            raise LandmarkError("a class model gives no vectors: use class_logits")
        vectors, _ = self.describe_images(sensor, batch)
        assert vectors is not None
        return vectors

    def class_logits(self, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return (n, 12) float32 logits in taxonomy order; arguments as `encode_images`.

        Raises:
            InputError: The model knows no such sensor, was trained on other bands, or the pixels
                are in another unit.
            LandmarkError: The model gives vectors, not classes.
        """
        if self.kind == "embedding":
            raise LandmarkError("an embedding model gives no class logits: use encode_images")
        _, logits = self.describe_images(sensor, batch)
        assert logits is not None
        return logits

    def describe_images(
        self, sensor: str, batch: NDArray[np.generic]
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Return vectors and logits in one pass, as far as the model gives them."""
        if sensor not in self.config.inputs:
            known = ", ".join(sorted(self.config.inputs))
            raise InputError(f"the model was not trained on sensor {sensor!r}, only on {known}")
        origin = f"sensor {sensor}"
        check_bands(self.config.inputs[sensor], batch.shape, origin)
        check_unit(self.config.inputs[sensor], batch, origin)
        self.complete()
        self.eval()
        with computing(), torch.inference_mode():
            stored = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device())
            output = self({sensor: self.prepare(sensor, stored)})[sensor]
            return _array(output.vectors), _array(output.logits)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Return (n, dim) float32 unit vectors of texts.

        Raises:
            LandmarkError: The model has no text side (`classes`).
        """
        if self.text is None or self.kind == "classes":
            raise LandmarkError("this model has no text encoder: it ranks by class probabilities")
        self.eval()
        with computing(), torch.inference_mode():
            if self.tower is not None:
                vectors = self.tower(self.text.tokenise(texts))
            else:
                vectors = torch.from_numpy(self.text.encode(texts)).to(self._device())
            return self.project_texts(vectors).cpu().numpy()

    def _device(self) -> torch.device:
        return next(self.parameters()).device


class _Noise(nn.Module):
    """Adds normal noise to features while training."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, in training with noise."""
        return features + _HEAD_NOISE * torch.randn_like(features) if self.training else features


def _class_head(config: ModelConfig) -> nn.Module:
    classes = len(config.classes)
    if not config.head_hidden:
        return nn.Linear(config.dim, classes)
    return nn.Sequential(
        _Noise(),
        nn.Linear(config.dim, config.head_hidden),
        nn.ReLU(),
        nn.Dropout(_HEAD_DROPOUT),
        nn.Linear(config.head_hidden, classes),
    )


def _array(tensor: Tensor | None) -> NDArray[np.float32] | None:
    return None if tensor is None else tensor.float().cpu().numpy()
