"""Drawn galleries with a ranker's scores, and what they hold by sets of words.

Galleries are drawn with few score levels (many ties), unknown classes (unjudged patches), classes
nobody carries (queries without relevant patches), events, both sensors and two sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from baselines.documents import Documents, EventFlags
from baselines.groups import Case, source_names
from baselines.queries import Query
from baselines.resampling import Resampling
from baselines.scoring import Outcome, score
from landmark.progress import Silent
from landmark.taxonomy import ALL_MASK, CLASSES, bit

QUERIES = (
    Query("water", "water", "single", ("Water",)),
    Query("flood", "flooded area", "single", ("Flooded Area",)),
    Query("nobody", "snow and ice", "single", ("Snow and Ice",)),  # no patch carries it
    Query("pair", "water. crops", "combination", ("Water", "Crops")),
    Query("wet", "flooded area. crops", "held_out", ("Flooded Area", "Crops")),
    Query("dry", "crops without water", "negation", ("Crops",), ("Water",)),
)


@dataclass(frozen=True)
class Stored:
    """A ranker with its scores ready."""

    table: np.ndarray
    run: str = "stored"
    recipe: str | None = None

    def scores(self, query: Query) -> np.ndarray:
        return self.table[QUERIES.index(query)]

    def many(self, queries: Any) -> np.ndarray:
        return np.stack([self.scores(query) for query in queries])


@dataclass(frozen=True)
class Made:
    documents: Documents
    events: dict[str, EventFlags]
    scores: np.ndarray
    blocks: np.ndarray

    def outcomes(self, drawn: Resampling | None = None) -> list[Outcome]:
        ranker = Stored(self.scores)
        return score(self.documents, QUERIES, [ranker], self.events, Silent(), drawn=drawn)


def made(labels: Any, known: Any, scores: Any, seed: int = 0) -> Made:
    """A gallery of random sensors, sources, flood events and blocks."""
    generator = np.random.default_rng(seed)
    n = len(labels)
    labels, known = np.asarray(labels, np.uint16), np.asarray(known, np.uint16)
    labels = labels & ~np.uint16(bit("Snow and Ice"))
    sources = generator.integers(2, size=n)
    table = pa.table(
        {
            "patch_id": [f"p{i:05d}" for i in range(n)],
            "sensor": generator.choice(["s1", "s2"], n).tolist(),
            "label_mask": labels,
            "known_mask": labels | known,
            "provenance": [{"provider": "p", "collection": f"c{source}"} for source in sources],
        }
    )
    seen = generator.random(n) < 0.4
    listed = generator.random(n) < 0.8
    events = {"Flooded Area": EventFlags(seen=listed & seen, unseen=listed & ~seen)}
    blocks = generator.choice(["a", "b", "c", "d"], n)
    return Made(Documents(table), events, np.asarray(scores, np.float32), blocks)


@st.composite
def galleries(draw: st.DrawFn) -> Made:
    n = draw(st.integers(1, 40))
    levels = draw(st.integers(1, 12))
    masks = arrays.arrays(np.uint16, n, elements=st.integers(0, ALL_MASK))
    scores = arrays.arrays(np.int64, (len(QUERIES), n), elements=st.integers(-levels, levels))
    some = draw(masks) & draw(masks)
    known = draw(st.one_of(st.just(np.full(n, ALL_MASK, np.uint16)), masks))
    return made(some, known, draw(scores) / 4, draw(st.integers(0, 1000)))


def classes(mask: int) -> set[str]:
    return {name for name in CLASSES if mask & bit(name)}


def expected_gallery(made: Made, query: Query, case: Case) -> list[tuple[str, float, bool, float]]:
    """(patch_id, score, relevant, grade) of every patch of one gallery, by sets of words."""
    scores = made.scores[QUERIES.index(query)]
    sources = source_names(made.documents)
    result = []
    for i, row in enumerate(made.documents.table.to_pylist()):
        has, knows = classes(row["label_mask"]), classes(row["known_mask"])
        want, lack = set(query.classes), set(query.absent)
        refused = bool(lack & has) or not lack <= knows
        relevant = want <= has and not refused
        grade = 0.0 if refused else len(want & has) / len(want | has)
        decided = want | lack <= knows or bool(want & (knows - has)) or bool(lack & has)
        flags = made.events["Flooded Area"]
        of_stratum = {"all": True, "seen": flags.seen[i], "unseen": flags.unseen[i]}[case.events]
        carries = "Flooded Area" in want & has
        if (
            case.sensor in (row["sensor"], "both")
            and case.source in (None, sources[i])
            and (not carries or of_stratum)
            and (decided or not case.judged)
        ):
            result.append((row["patch_id"], float(scores[i]), relevant, grade))
    return result


def ranked(gallery: list[tuple[str, float, bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    best_first = sorted(gallery, key=lambda line: (-line[1], line[0]))
    return np.array([g[2] for g in best_first]), np.array([g[3] for g in best_first])
