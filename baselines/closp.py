"""CLOSP: one image encoder per sensor and a frozen text encoder in one unit-length space.

The same trunk with a class head serves the multi-label comparison (`kind: classes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.encoders import build_backbone
from baselines.scaling import Scaling, SensorInput, check_bands
from baselines.text import TextConfig, TextEncoder
from baselines.threads import computing
from landmark.errors import InputError, LandmarkError
from landmark.taxonomy import CLASSES

#: Upper bound of the learned scale (1 / temperature), as in CLIP.
MAX_SCALE = 100.0

Kind = Literal["embedding", "classes"]


class ModelConfig(BaseModel):
    """Everything needed to build the model again before its weights are loaded.

    Attributes:
        kind: `embedding` (text and images in one space) or `classes` (12 logits per image).
        backbone: timm name.
        size: Pixels per side given to the backbone.
        dim: Width of the space.
        temperature: Where the learnable temperature starts.
        text_projection: Whether a trained layer follows the text tower.
        inputs: What is expected of each sensor.
        text: The text tower; None for `classes`.
        classes: Class names in the order of the logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    backbone: str
    size: int
    dim: int
    temperature: float
    text_projection: bool
    inputs: dict[str, SensorInput]
    text: TextConfig | None
    classes: tuple[str, ...] = CLASSES


class Closp(nn.Module):
    """Image encoders, projections and head. The text tower is held beside, not inside.

    `forward` is for training; `encode_images`, `encode_texts` and `class_logits` take and give
    numpy arrays and leave the model in eval mode.
    """

    def __init__(self, config: ModelConfig, text: TextEncoder | None = None) -> None:
        super().__init__()
        self.config = config
        self.text = text
        self.scaling = nn.ModuleDict()
        self.backbones = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for sensor, expected in sorted(config.inputs.items()):
            backbone, features = build_backbone(config.backbone, len(expected.bands), config.size)
            self.scaling[sensor] = Scaling(expected, config.size)
            self.backbones[sensor] = backbone
            self.projections[sensor] = nn.Linear(features, config.dim)
        self.head: nn.Linear | None = None
        self.log_scale: nn.Parameter | None = None
        self.text_head: nn.Linear | None = None
        if config.kind == "classes":
            self.head = nn.Linear(config.dim, len(config.classes))
        else:
            self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / config.temperature)))
            if config.text is None:
                raise LandmarkError("an embedding model needs a text encoder")
            if config.text_projection:
                self.text_head = nn.Linear(config.text.width, config.dim)
            elif config.text.width != config.dim:
                raise LandmarkError(
                    "dim differs from the text encoder's width: set text_projection"
                )

    @property
    def kind(self) -> Kind:
        """`embedding` or `classes`."""
        return self.config.kind

    def prepare(self, sensor: str, stored: Tensor) -> Tensor:
        """Return network input (n, bands, size, size) of stored pixels (n, bands, 120, 120)."""
        scaled: Tensor = self.scaling[sensor](stored)
        return scaled

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return per sensor (n, dim) unit vectors (`embedding`) or (n, 12) logits (`classes`).

        Args:
            inputs: Sensor -> what `prepare` gave.
        """
        outputs = {}
        for sensor, images in inputs.items():
            projected = self.projections[sensor](self.backbones[sensor](images))
            if self.head is not None:
                outputs[sensor] = self.head(projected)
            else:
                outputs[sensor] = F.normalize(projected.float(), dim=1)
        return outputs

    def project_texts(self, vectors: Tensor) -> Tensor:
        """Return (n, dim) unit vectors of the text tower's (n, width) vectors."""
        if self.text_head is not None:
            vectors = self.text_head(vectors)
        return F.normalize(vectors.float(), dim=1)

    def scale(self) -> Tensor:
        """Return 1 / temperature, at most `MAX_SCALE`."""
        if self.log_scale is None:
            raise LandmarkError("a class model has no temperature")
        return self.log_scale.clamp(max=math.log(MAX_SCALE)).exp()

    def encode_images(self, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return (n, dim) float32 unit vectors of patches.

        Args:
            sensor: `s1` or `s2`.
            batch: (n, bands, 120, 120) as stored: uint16 reflectance x 10000, or float32 dB.

        Raises:
            InputError: The model knows no such sensor, or was trained on other bands.
            LandmarkError: The model gives classes, not vectors.
        """
        if self.kind != "embedding":
            raise LandmarkError("a class model gives no vectors: use class_logits")
        return self._infer(sensor, batch)

    def class_logits(self, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return (n, 12) float32 logits in taxonomy order; arguments as `encode_images`.

        Raises:
            InputError: The model knows no such sensor, or was trained on other bands.
            LandmarkError: The model gives vectors, not classes.
        """
        if self.kind != "classes":
            raise LandmarkError("an embedding model gives no class logits: use encode_images")
        return self._infer(sensor, batch)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Return (n, dim) float32 unit vectors of texts.

        Raises:
            LandmarkError: The model has no text side (`classes`).
        """
        if self.text is None or self.kind != "embedding":
            raise LandmarkError("this model has no text encoder: it ranks by class probabilities")
        with computing(), torch.inference_mode():
            vectors = torch.from_numpy(self.text.encode(texts)).to(self._device())
            return self.project_texts(vectors).cpu().numpy()

    def _infer(self, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        if sensor not in self.config.inputs:
            known = ", ".join(sorted(self.config.inputs))
            raise InputError(f"the model was not trained on sensor {sensor!r}, only on {known}")
        check_bands(self.config.inputs[sensor], batch.shape, f"sensor {sensor}")
        self.eval()
        with computing(), torch.inference_mode():
            stored = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device())
            outputs = self({sensor: self.prepare(sensor, stored)})
            return outputs[sensor].float().cpu().numpy()

    def _device(self) -> torch.device:
        return next(self.parameters()).device
