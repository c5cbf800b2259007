"""Texts as a run of kind `concepts` understands them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from baselines.checkpoints import LoadedRun
from baselines.concepts import ConceptQuery, Translator
from landmark.errors import LandmarkError


def concept_queries(loaded: LoadedRun, texts: Sequence[str]) -> list[ConceptQuery]:
    """Return each text in classes and as a vector.

    Raises:
        InputError: A text names nothing.
        LandmarkError: The run has no text encoder.
    """
    if loaded.text_encoder is None:
        raise LandmarkError(f"run {loaded.name!r} has no text encoder to translate queries with")
    translator = Translator(loaded.text_encoder)
    with torch.no_grad():
        scale = float(loaded.model.scale())
    vectors = loaded.model.encode_texts(list(texts))
    requests = [translator.translate(text) for text in texts]
    return [ConceptQuery(r, v, scale) for r, v in zip(requests, vectors, strict=True)]
