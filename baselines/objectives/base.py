"""What a training run and an objective need of each other."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.closp import Kind, Output
from baselines.recipes import Recipe
from baselines.text import TextEncoder, TextTower

Rows = NDArray[np.intp]


class Labelled(Protocol):
    """As much of a split as an objective looks at (see `baselines.loader.Split`)."""

    label_mask: NDArray[np.uint16]
    known_mask: NDArray[np.uint16]
    captions: list[str]

    @property
    def caption_id(self) -> NDArray[np.integer]:
        """(n,) index into `captions`."""
        ...


class Sides(Protocol):
    """As much of a model as an objective looks at (see `baselines.closp.Closp`)."""

    @property
    def tower(self) -> TextTower | None:
        """The text tower, where it is trained."""
        ...

    def project_texts(self, vectors: Tensor) -> Tensor:
        """Return (n, dim) unit vectors of texts."""
        ...

    def place_vectors(self, lonlat: Tensor) -> Tensor:
        """Return (n, dim) unit vectors of places."""
        ...

    def scale(self) -> Tensor:
        """Return 1 / temperature."""
        ...

    def offset(self) -> Tensor:
        """Return the bias of sigmoid losses."""
        ...


@dataclass(frozen=True)
class Places:
    """Where the patches of a split lie, for the terms that need it.

    Attributes:
        lonlat: (n, 2) float64 degrees of the centres.
        partner: (n,) row of the paired patch in the other sensor's split, or -1.
    """

    lonlat: NDArray[np.float64]
    partner: Rows


@dataclass(frozen=True)
class Material:
    """What an objective is made of.

    Attributes:
        recipe: All settings.
        splits: Sensor -> training patches.
        places: Sensor -> where they lie; empty unless a term needs it.
        text: The text encoder, where the objective compares with texts.
        device: Where losses are computed.
    """

    recipe: Recipe
    splits: Mapping[str, Labelled]
    text: TextEncoder | None
    device: torch.device
    places: Mapping[str, Places] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """One training step as all processes draw it together.

    Attributes:
        rows: Sensor -> rows of its training split.
        place: (epoch, step), from 0.
        part: (rank, processes).
    """

    rows: Mapping[str, Rows]
    place: tuple[int, int] = (0, 0)
    part: tuple[int, int] = (0, 1)


class Objective(abc.ABC):
    """What a training run needs of an objective."""

    kind: ClassVar[Kind]

    def __init__(self, material: Material) -> None:
        self._material = material

    @staticmethod
    @abc.abstractmethod
    def usable(split: Labelled) -> NDArray[np.bool_]:
        """Return (n,) which patches of a split this objective can learn from."""

    @abc.abstractmethod
    def loss(self, model: Sides, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        """Return this process's loss of a step; the mean over processes is the loss.

        Args:
            model: For the text side, the location side and the temperature.
            outputs: Sensor -> what the model gave for this process's share.
            drawn: The step.
        """
