"""The texts of a step: one vector per unique text, and the wordings of label sets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.objectives.base import Rows, Sides
from baselines.sampling import draws
from baselines.text import TextEncoder
from landmark.synonyms import Synonyms
from landmark.taxonomy import names_of

#: Share of the class names that a wording says in other words.
_REPLACED = 0.5


class TextTable:
    """Texts by number. A frozen tower embeds each of them once, a trained one at every step.

    What is known at the start is embedded together; a text drawn later is embedded alone, so that
    its vector does not depend on what was drawn before it (a resumed run draws the rest only).
    """

    def __init__(self, encoder: TextEncoder, texts: list[str], device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self._texts = list(dict.fromkeys(texts))
        self._known = len(self._texts)
        self._place = {text: index for index, text in enumerate(self._texts)}
        self._vectors: list[NDArray[np.float32]] = []
        self._tokens: dict[int, list[int]] = {}

    def place(self, text: str) -> int:
        """Return the number of a text."""
        if text not in self._place:
            self._place[text] = len(self._texts)
            self._texts.append(text)
        return self._place[text]

    def vectors(self, model: Sides, rows: Rows) -> Tensor:
        """Return (n, dim) unit vectors of texts by number."""
        if model.tower is not None:
            return model.project_texts(model.tower(self._tokenised(rows)))
        return model.project_texts(self._frozen(rows))

    def _frozen(self, rows: Rows) -> Tensor:
        if self._known and not self._vectors:
            self._vectors.extend(self._encoder.encode(self._texts[: self._known]))
        for text in self._texts[len(self._vectors) :]:
            self._vectors.extend(self._encoder.encode([text]))
        return torch.from_numpy(np.stack([self._vectors[row] for row in rows])).to(self._device)

    def _tokenised(self, rows: Rows) -> list[list[int]]:
        for row in map(int, rows):
            if row not in self._tokens:
                self._tokens[row] = self._encoder.tokenise([self._texts[row]])[0]
        return [self._tokens[int(row)] for row in rows]


class Wordings:
    """How a label set is said: in the corpus's short form, or in one of a few drawn ways.

    Args:
        seed: Of the run.
        variants: Ways per label set; 1: the short form alone.
        synonyms: Where names are replaced by other words; None: never.
    """

    def __init__(self, seed: int, variants: int = 1, synonyms: Synonyms | None = None) -> None:
        self._seed = seed
        self._synonyms = synonyms
        self.variants = variants

    def text(self, mask: int, variant: int = 0) -> str:
        """Return a text that names every class of a mask."""
        if self.variants == 1:
            return subset_text(mask)
        random = draws(self._seed, f"wording/{mask}/{variant}")
        names = names_of(mask)
        said = []
        for place in random.permutation(len(names)):
            name, words = names[place], names[place].lower()
            if self._synonyms is not None and random.random() < _REPLACED:
                others = self._synonyms.train[name]
                words = others[int(random.integers(len(others)))]
            said.append(words)
        return ". ".join(said)


def subset_text(mask: int) -> str:
    """Return the caption of a label set in the corpus's own short form."""
    return ". ".join(name.lower() for name in names_of(mask))
