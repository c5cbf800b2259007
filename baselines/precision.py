"""Which arithmetic the backbones are computed in: by what the device can do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.recipes import Recipe
from landmark.errors import InputError

#: What Linux calls the instructions that make bfloat16 fast on a CPU.
_CPU_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPU_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Precision:
    """Arithmetic of a run on a device.

    Attributes:
        device: `cuda` or `cpu`.
        dtype: Of the backbones' products; float32 means no mixed precision.
    """

    device: str
    dtype: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context the backbones run in."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps small float16 gradients from vanishing; it does nothing elsewhere."""
        return torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Return the arithmetic of a run.

    `auto` is float32 on a CPU. Without instructions for it, bfloat16 was measured ten times slower
    than float32 there, so it is refused rather than granted.

    Args:
        wanted: `auto`, `float32`, `bfloat16` or `float16`.
        device: Where the run computes.

    Raises:
        InputError: The device cannot do it, or not in reasonable time.
    """
    if device.type == "cuda":
        capable = torch.cuda.is_bf16_supported()
        if wanted == "bfloat16" and not capable:
            raise InputError("precision bfloat16: this device has none; use float16 or auto")
        if wanted == "auto":
            wanted = "bfloat16" if capable else "float16"
        return Precision("cuda", getattr(torch, wanted))
    if wanted == "float16":
        raise InputError("precision float16 is for CUDA devices; use float32 on a CPU")
    if wanted == "bfloat16" and not cpu_has_bfloat16():
        raise InputError(
            "precision bfloat16: this CPU has no instructions for it and would be many times "
            "slower; use float32"
        )
    return Precision("cpu", torch.bfloat16 if wanted == "bfloat16" else torch.float32)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (as far as the system tells)."""
    if not _CPU_FACTS.is_file():
        return False
    words = set(_CPU_FACTS.read_text().split())
    return bool(words & _CPU_BFLOAT16)


@contextlib.contextmanager
def determinism(recipe: Recipe) -> Iterator[None]:
    """Ask torch for deterministic algorithms while the context lasts, if the recipe wants them."""
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark
