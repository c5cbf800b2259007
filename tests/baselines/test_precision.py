from __future__ import annotations

import pytest
import torch

from baselines import precision
from baselines.precision import choose_precision, cpu_has_bfloat16, determinism
from baselines.recipes import RECIPES, change
from landmark.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_a_cpu_computes_in_float32_unless_it_was_built_for_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choose_precision("auto", CPU).dtype == torch.float32
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
    assert choose_precision("auto", CPU).dtype == torch.float32
    assert choose_precision("bfloat16", CPU).dtype == torch.bfloat16
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(InputError, match="this CPU has no instructions for it"):
        choose_precision("bfloat16", CPU)
    with pytest.raises(InputError, match="float16 is for CUDA devices"):
        choose_precision("float16", CPU)


@pytest.mark.parametrize(("capable", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_cuda_device_gets_the_mixed_precision_it_can(
    capable: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: capable)
    assert choose_precision("auto", CUDA).dtype == dtype
    assert choose_precision("float32", CUDA).dtype == torch.float32
    if not capable:
        with pytest.raises(InputError, match="this device has none; use float16"):
            choose_precision("bfloat16", CUDA)


@pytest.mark.parametrize(
    ("flags", "able"), [("fpu avx2 avx512f", False), ("avx512_bf16 x", True), ("amx_bf16", True)]
)
def test_capability_is_read_off_the_cpus_flags(
    flags: str, able: bool, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "cpuinfo"  # type: ignore[operator]
    facts.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(precision, "_CPU_FACTS", facts)
    assert cpu_has_bfloat16() is able


def test_determinism_is_asked_for_and_given_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with determinism(change(RECIPES["clip"], "", deterministic=True)):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
