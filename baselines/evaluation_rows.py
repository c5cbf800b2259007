"""The rows of `evaluation.json`: means over queries, with intervals over ground and queries."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.checkpoints import run_files
from baselines.groups import Case
from baselines.references import RANDOM, REFERENCES
from baselines.resampling import interval
from baselines.scoring import Outcome
from landmark.errors import LandmarkError

FILE = "evaluation.json"
#: The same rows for every source apart, with one more field.
BY_SOURCE_FILE = "evaluation_by_source.json"
#: Ends the name of the ranking that a search by a run of vectors gives: words become classes.
SEARCH = ":search"
#: Digits kept: far below what any comparison needs, above what another BLAS may change.
_DIGITS = 6

_Key = tuple[str, str | None, Case, str, str | None]


@dataclass(frozen=True)
class EvaluationRow:
    """One value of `evaluation.json`.

    Attributes:
        run: Run, `RUN:search`, or `baseline:...`.
        recipe: Recipe of the run, or None.
        sensor: `s1`, `s2` or `both`.
        queries: Kind of the queries.
        class_name: The class of a single-class row (`class` in JSON); None: mean over queries.
        events: `all`, `seen` or `unseen`.
        relevance: `binary` or `graded`.
        judged: Whether only patches of known relevance are counted.
        metric: `map`, `map_at`, `ndcg`, `r_precision` or `recall`.
        k: Ranks looked at; None: the full ranking.
        value: 0..1.
        low: Lower end of the 90 % interval, or None.
        high: Upper end, or None.
        source: Where the patches come from; None (and no field in JSON): from anywhere.
    """

    run: str
    recipe: str | None
    sensor: str
    queries: str
    class_name: str | None
    events: str
    relevance: str
    judged: bool
    metric: str
    k: int | None
    value: float
    low: float | None
    high: float | None
    source: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `class_name` is called `class`."""
        return {
            "class" if name == "class_name" else name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name != "source" or self.source is not None
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> EvaluationRow:
        """Return the row `to_dict` wrote."""
        return cls(**{"class_name" if name == "class" else name: raw[name] for name in raw})


def read_evaluation(root: Path, run: str) -> tuple[EvaluationRow, ...]:
    """Return the rows of a run's `evaluation.json`; none where it was not evaluated.

    Raises:
        LandmarkError: The file is damaged.
    """
    path = run_files(root, run).folder / FILE
    try:
        return tuple(EvaluationRow.from_dict(raw) for raw in json.loads(path.read_bytes()))
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError, AttributeError):
        raise LandmarkError(f"{path} is damaged; run `landmark evaluate` again") from None


def encode(rows: Iterable[EvaluationRow]) -> str:
    """Return rows as one JSON array, a row per line."""
    lines = ",\n".join(json.dumps(row.to_dict()) for row in rows)
    return f"[\n{lines}\n]\n"


def aggregate(outcomes: Iterable[Outcome]) -> tuple[EvaluationRow, ...]:
    """Return the mean of each kind of queries, and each class of the single-class queries.

    Runs come before references.
    """
    members: dict[_Key, list[Outcome]] = {}
    for one in outcomes:
        key = (one.run, one.recipe, one.case, one.query.kind)
        members.setdefault((*key, None), []).append(one)
        if one.query.kind == "single":
            members.setdefault((*key, one.query.classes[0]), []).append(one)
    ordered = sorted(members, key=lambda key: place_of(key[0]))
    return tuple(row for key in ordered for row in _rows(key, members[key]))


def place_of(run: str) -> int:
    """Return where a run stands among others: trained runs, then the references in their order."""
    return REFERENCES.index(run) + 1 if run in REFERENCES else 0


def _rows(key: _Key, members: list[Outcome]) -> Iterable[EvaluationRow]:
    run, recipe, case, kind, class_name = key
    values = np.stack([one.values for one in members])
    drawn = [one.replicates for one in members if one.replicates is not None]
    ends = None
    if run != RANDOM:
        queries = [one.query for one in members]
        ends = interval(values, np.stack(drawn) if drawn else None, queries)
    for place, measure in enumerate(members[0].measures):
        low, high = (None, None) if ends is None else (ends[0][place], ends[1][place])
        yield EvaluationRow(
            run=run,
            recipe=recipe,
            sensor=case.sensor,
            queries=kind,
            class_name=class_name,
            events=case.events,
            relevance=measure.relevance,
            judged=case.judged,
            metric=measure.metric,
            k=measure.k,
            value=round(float(values[:, place].mean()), _DIGITS),
            low=_rounded(low),
            high=_rounded(high),
            source=case.source,
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), _DIGITS)
