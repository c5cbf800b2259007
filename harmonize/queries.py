"""The fixed list of text queries, made before any training from labels and the seed alone.

- `single`: one per class.
- `combination`: two or three classes, in the published caption style (`water. trees`).
- `held_out`: a combination whose exact label set is no train patch's, so that its text never
  occurs as a training caption.
- `paraphrase`: a single class in other words.
- `negation`: one class without another (`water without trees`).

Every query has at least `min_relevant` relevant patches in the gallery (split `corpus`, both
sensors together).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from harmonize.captions import caption
from harmonize.hashing import draws
from landmark.manifest import Queries
from landmark.relevance import relevant
from landmark.synonyms import load_synonyms
from landmark.taxonomy import CLASSES, CRISIS_MASK, bit, mask_of, names_of


@dataclass(frozen=True)
class Query:
    """One text query and what it asks for.

    Attributes:
        id: Stable and unique, without blanks: it names the classes.
        text: What a user would type.
        kind: `single`, `combination`, `held_out`, `paraphrase` or `negation`.
        classes: Classes a relevant patch carries, all of them.
        absent: Classes a relevant patch does not carry.
        paraphrase_of: Id of the query this one says in other words, or None.
    """

    id: str
    text: str
    kind: str
    classes: tuple[str, ...]
    absent: tuple[str, ...] = ()
    paraphrase_of: str | None = None

    @property
    def wanted_mask(self) -> int:
        """Mask of the classes asked for."""
        return mask_of(self.classes)

    @property
    def absent_mask(self) -> int:
        """Mask of the negated classes."""
        return mask_of(self.absent)


@dataclass(frozen=True)
class Gallery:
    """The masks of the patches that are searched, arrays of length n.

    Attributes:
        label_masks: Classes present.
        known_masks: Classes decided.
    """

    label_masks: NDArray[np.integer]
    known_masks: NDArray[np.integer]

    def count(self, wanted: int, absent: int = 0) -> int:
        """Return how many patches are relevant."""
        found = relevant(self.label_masks, wanted, absent, self.known_masks)
        return int(np.count_nonzero(found))


def make_queries(
    gallery: Gallery, train_masks: Iterable[int], rules: Queries, seed: int
) -> tuple[Query, ...]:
    """Return all queries of a dataset, in a fixed order.

    Args:
        gallery: Patches of split `corpus`.
        train_masks: Label masks of the train patches (their captions).
        rules: Least number of relevant patches, and the cap on combinations.
        seed: The manifest's seed: chooses among the combinations.
    """
    singles = [
        Query(f"single-{_slug(name)}", name.lower(), "single", (name,))
        for name in CLASSES
        if gallery.count(bit(name)) >= rules.min_relevant
    ]
    texts = load_synonyms().test
    return (
        *singles,
        *_combinations(gallery, frozenset(train_masks), rules, seed),
        *(paraphrase for query in singles for paraphrase in _paraphrases(query, texts)),
        *_negations(gallery, singles, rules, seed),
    )


def queries_jsonl(queries: Sequence[Query]) -> str:
    """Return queries as JSON lines."""
    return "".join(f"{json.dumps(asdict(query))}\n" for query in queries)


def _combinations(
    gallery: Gallery, train_masks: frozenset[int], rules: Queries, seed: int
) -> list[Query]:
    """Choose at most `max_combinations`, in turn from each stratum.

    Strata are kind (seen in train or held out), number of classes, and whether a crisis class is
    among them; within one, a seeded draw of the query's id decides.
    """
    candidates = []
    for size in (2, 3):
        for names in itertools.combinations(CLASSES, size):
            mask = mask_of(names)
            if gallery.count(mask) >= rules.min_relevant:
                kind = "combination" if mask in train_masks else "held_out"
                stem = "+".join(_slug(name) for name in names)
                candidates.append(
                    Query(f"{kind.replace('_', '-')}-{stem}", caption(mask), kind, names)
                )
    lots = dict(zip(candidates, _query_draws(candidates, seed), strict=True))
    strata: dict[tuple[str, int, bool], list[Query]] = {}
    for query in sorted(candidates, key=lambda q: lots[q]):
        crisis = bool(query.wanted_mask & CRISIS_MASK)
        strata.setdefault((query.kind, len(query.classes), crisis), []).append(query)
    rounds = itertools.zip_longest(*(strata[key] for key in sorted(strata)))
    in_turn = [query for turn in rounds for query in turn if query is not None]
    chosen = set(in_turn[: rules.max_combinations])
    return [query for query in candidates if query in chosen]


def _paraphrases(single: Query, texts: Mapping[str, tuple[str, ...]]) -> list[Query]:
    (name,) = single.classes
    return [
        Query(f"paraphrase-{_slug(name)}-{number}", text, "paraphrase", (name,), (), single.id)
        for number, text in enumerate(texts[name], start=1)
    ]


def _negations(
    gallery: Gallery, singles: Sequence[Query], rules: Queries, seed: int
) -> list[Query]:
    """Return one negation per class, where leaving another class out changes the answer."""
    chosen = []
    for single in singles:
        (name,) = single.classes
        candidates = [
            Query(
                f"negation-{_slug(name)}-not-{_slug(other)}",
                f"{name.lower()} without {other.lower()}",
                "negation",
                (name,),
                (other,),
            )
            for other in CLASSES
            if other != name
            and gallery.count(bit(name), bit(other)) >= rules.min_relevant
            and gallery.count(bit(name) | bit(other)) >= rules.min_relevant
        ]
        if candidates:
            lots = _query_draws(candidates, seed)
            chosen.append(candidates[int(np.argmin(lots))])
    return chosen


def _query_draws(queries: Sequence[Query], seed: int) -> list[int]:
    names = [
        "+".join(names_of(query.wanted_mask)) + "-" + "".join(query.absent) for query in queries
    ]
    return [int(lot) for lot in draws(names, seed, "query")]


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
