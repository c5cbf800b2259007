from __future__ import annotations

import json

import numpy as np
import pytest

from harmonize.queries import Gallery, make_queries, queries_jsonl
from landmark.manifest import Queries
from landmark.taxonomy import ALL_MASK, CLASSES, mask_of

RNG = np.random.default_rng(0)
PREVALENCE = np.array([0.3, 0.5, 0.2, 0.05, 0.5, 0.1, 0.3, 0.1, 0.0, 0.15, 0.1, 0.02])


def masks(n: int) -> np.ndarray:
    return (RNG.random((n, 12)) < PREVALENCE) @ (1 << np.arange(12))


LABELS = masks(400)
GALLERY = Gallery(LABELS, np.full(400, ALL_MASK))
TRAIN = set(masks(100).tolist())
RULES = Queries(min_relevant=5, max_combinations=30, negations=True)


def test_every_query_has_enough_relevant_patches() -> None:
    queries = make_queries(GALLERY, TRAIN, RULES, seed=1)
    assert len({query.id for query in queries}) == len(queries)
    for query in queries:
        has_all = (LABELS & query.wanted_mask) == query.wanted_mask
        has_none = (LABELS & query.absent_mask) == 0
        assert (has_all & has_none).sum() >= 5, query
        assert query.text == query.text.lower()
        assert " " not in query.id
    kinds = {query.kind for query in queries}
    assert kinds == {"single", "combination", "held_out", "paraphrase", "negation"}


def test_singles_are_the_classes_frequent_enough() -> None:
    queries = make_queries(GALLERY, TRAIN, RULES, seed=1)
    singles = [query.classes[0] for query in queries if query.kind == "single"]
    assert singles == [n for i, n in enumerate(CLASSES) if (LABELS >> i & 1).sum() >= 5]
    assert "Snow and Ice" not in singles


def test_held_out_texts_never_occur_as_training_captions() -> None:
    from harmonize.captions import caption

    captions = {caption(mask) for mask in TRAIN}
    queries = make_queries(GALLERY, TRAIN, RULES, seed=1)
    for query in queries:
        if query.kind == "held_out":
            assert query.text not in captions
        if query.kind == "combination":
            assert query.text in captions


def test_combinations_are_capped_and_cover_the_strata() -> None:
    queries = make_queries(GALLERY, TRAIN, RULES, seed=1)
    combos = [query for query in queries if query.kind in ("combination", "held_out")]
    assert len(combos) == 30
    strata = {(q.kind, len(q.classes), bool(set(q.classes) & set(CLASSES[9:]))) for q in combos}
    assert len(strata) >= 6
    none = make_queries(GALLERY, TRAIN, Queries(max_combinations=0), seed=1)
    assert not any(query.kind in ("combination", "held_out") for query in none)


def test_the_seed_chooses_combinations_only() -> None:
    one, again, two = (make_queries(GALLERY, TRAIN, RULES, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != two
    assert [q for q in one if q.kind == "single"] == [q for q in two if q.kind == "single"]


def test_paraphrases_name_their_single() -> None:
    queries = make_queries(GALLERY, TRAIN, RULES, seed=1)
    singles = {query.id: query for query in queries if query.kind == "single"}
    paraphrases = [query for query in queries if query.kind == "paraphrase"]
    assert {query.paraphrase_of for query in paraphrases} == set(singles)
    for query in paraphrases:
        assert query.classes == singles[str(query.paraphrase_of)].classes
        assert query.text != singles[str(query.paraphrase_of)].text


def test_a_negated_class_must_be_known_to_be_absent() -> None:
    labels = np.array([mask_of(["Water"])] * 6 + [mask_of(["Water", "Trees"])] * 6)
    known = np.full(12, mask_of(["Water"]))
    known[6:] |= mask_of(["Trees"])
    unknown = make_queries(Gallery(labels, known), set(), RULES, seed=0)
    assert not any(query.kind == "negation" for query in unknown)
    known[:] |= mask_of(["Trees"])
    decided = make_queries(Gallery(labels, known), set(), RULES, seed=0)
    negations = [query for query in decided if query.kind == "negation"]
    assert [query.text for query in negations] == ["water without trees"]
    assert negations[0].absent == ("Trees",)


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_patches_give_no_queries(n: int) -> None:
    gallery = Gallery(np.full(n, 1), np.full(n, ALL_MASK))
    assert make_queries(gallery, set(), RULES, seed=0) == ()


def test_lines_hold_the_contract_fields() -> None:
    lines = queries_jsonl(make_queries(GALLERY, TRAIN, RULES, seed=1)).splitlines()
    for line in lines:
        assert list(json.loads(line)) == [
            *("id", "text", "kind", "classes", "absent", "paraphrase_of")
        ]
    assert json.loads(lines[0]) == {
        "id": "single-water",
        "text": "water",
        "kind": "single",
        "classes": ["Water"],
        "absent": [],
        "paraphrase_of": None,
    }
