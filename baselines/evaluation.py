"""Retrieval scores of a run beside the references: `runs/<name>/evaluation.json`.

Gallery: split `corpus`, per sensor and both. A row is a mean over queries with a 90 % bootstrap
interval over those queries (percentiles of 1000 resampled means; blocks are not resampled). Rows
of one class hold one query and closed-form rows hold no chance, so they have no interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from baselines.checkpoints import LoadedRun, list_runs, load_run, read_config, run_files
from baselines.concept_queries import concept_queries
from baselines.documents import Documents, event_flags, read_documents
from baselines.embedding import align, embed
from baselines.measures import Measure
from baselines.published import read_grades
from baselines.queries import Query, read_queries
from baselines.rankers import ConceptRanker, ProbabilityRanker, Ranker, VectorRanker
from baselines.references import (
    FACT_COLUMNS,
    LABEL_FREQUENCY,
    MULTILABEL,
    RANDOM,
    SOURCE_SHORTCUT,
    label_frequency,
    source_shortcut,
)
from baselines.runs import choose_run
from baselines.scoring import Case, Value, score
from landmark.commits import write_atomic
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.progress import Progress, Silent

OpenRun = Callable[[Path, str], LoadedRun]

_RESAMPLES = 1000
_INTERVAL = (5.0, 95.0)
#: Digits kept: far below what any comparison needs, above what another BLAS may change.
_DIGITS = 6


@dataclass(frozen=True)
class EvaluationRow:
    """One value of `evaluation.json`.

    Attributes:
        run: Run, or `baseline:...`.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `class_name` is called `class`."""
        return {
            "class" if name == "class_name" else name: getattr(self, name)
            for name in self.__dataclass_fields__
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> EvaluationRow:
        """Return the row `to_dict` wrote."""
        return cls(**{"class_name" if name == "class" else name: raw[name] for name in raw})


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of one run and the references.

    Attributes:
        run: The run evaluated.
        path: Where the rows were written.
        rows: All rows.
        notes: What was left out, one line each.
    """

    run: str
    path: Path
    rows: tuple[EvaluationRow, ...]
    notes: tuple[str, ...]

    def to_list(self) -> list[dict[str, Any]]:
        """Return the rows as plain JSON values: what `evaluation.json` holds."""
        return [row.to_dict() for row in self.rows]


def evaluate(
    root: Path,
    run: str | None = None,
    progress: Progress | None = None,
    *,
    open_run: OpenRun = load_run,
) -> EvaluationResult:
    """Score a run and the references on the dataset's queries; write `evaluation.json`.

    Args:
        root: Dataset directory.
        run: Run name; None: `clip`, or the only run.
        progress: Told of patches embedded and queries done.
        open_run: Loads a run by root and name.

    Raises:
        InputError: Shards, queries or the run are missing, or no query has a relevant patch.
        LandmarkError: A file is damaged.
    """
    shown = progress or Silent()
    dataset = Dataset(root)
    name = choose_run(root, run)
    queries = read_queries(dataset)
    loaded = open_run(root, name)
    corpus = _of_sensors(read_documents(dataset, "corpus", FACT_COLUMNS), loaded)
    train = _of_sensors(read_documents(dataset, "train", FACT_COLUMNS), loaded)
    rankers = [
        _ranker(root, loaded, name, corpus, queries, shown),
        ProbabilityRanker(LABEL_FREQUENCY, None, label_frequency(train, corpus)),
        ProbabilityRanker(SOURCE_SHORTCUT, None, source_shortcut(train, corpus)),
    ]
    notes = []
    multilabel = _multilabel(root, loaded)
    if multilabel is None:
        notes.append(
            f"{MULTILABEL} is left out: no run of recipe multilabel for these sensors; "
            "`landmark train-baseline --recipe multilabel --run multilabel` makes one"
        )
    else:
        other = loaded if multilabel == name else open_run(root, multilabel)
        rankers.append(_ranker(root, other, MULTILABEL, corpus, queries, shown))
        notes.append(f"{MULTILABEL} is run {multilabel!r}")
    grades = read_grades(dataset)
    values = score(corpus, queries, rankers, event_flags(corpus, train), shown, grades)
    notes.extend(_unanswered(queries, values))
    if not values:
        raise InputError(
            f"{root}: no query has a relevant patch in split corpus; make the area larger or add "
            "label sources"
        )
    rows = aggregate(values)
    path = run_files(root, name).folder / "evaluation.json"
    write_atomic(path, encode(rows))
    return EvaluationResult(name, path, rows, tuple(notes))


def read_evaluation(root: Path, run: str) -> tuple[EvaluationRow, ...]:
    """Return the rows of a run's `evaluation.json`; none where it was not evaluated.

    Raises:
        LandmarkError: The file is damaged.
    """
    path = run_files(root, run).folder / "evaluation.json"
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


def aggregate(values: Iterable[Value]) -> tuple[EvaluationRow, ...]:
    """Return the mean of each kind of queries, and each class of the single-class queries."""
    groups: dict[tuple[str, str | None, Case, str, str | None, Measure], list[Value]] = {}
    for value in values:
        key = (value.run, value.recipe, value.case, value.query.kind)
        groups.setdefault((*key, None, value.measure), []).append(value)
        if value.query.kind == "single":
            groups.setdefault((*key, value.query.classes[0], value.measure), []).append(value)
    rows = []
    for (run, recipe, case, kind, class_name, measure), members in groups.items():
        low, high = (None, None) if run == RANDOM else interval(members)
        rows.append(
            EvaluationRow(
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
                value=round(float(np.mean([member.value for member in members])), _DIGITS),
                low=low,
                high=high,
            )
        )
    return tuple(rows)


def interval(members: list[Value]) -> tuple[float | None, float | None]:
    """Return the 90 % bootstrap interval of the mean over queries; None for a single query.

    The draw depends on the query ids alone, so that all runs are resampled alike.
    """
    if len(members) < 2:
        return None, None
    seed = xxhash.xxh3_64_intdigest("\n".join(member.query.id for member in members).encode())
    draws = np.random.default_rng(seed).integers(len(members), size=(_RESAMPLES, len(members)))
    means = np.array([member.value for member in members])[draws].mean(axis=1)
    low, high = np.percentile(means, _INTERVAL)
    return round(float(low), _DIGITS), round(float(high), _DIGITS)


def _of_sensors(documents: Documents, loaded: LoadedRun) -> Documents:
    """Return the documents of the sensors a run was trained on."""
    sensors = set(documents.sensors.tolist()) & set(loaded.bands)
    return documents.of_sensor(sensors.pop()) if len(sensors) == 1 else documents


def _ranker(
    root: Path,
    loaded: LoadedRun,
    shown_as: str,
    documents: Documents,
    queries: tuple[Query, ...],
    progress: Progress,
) -> Ranker:
    vectors = align(embed(root, loaded, progress=progress), documents)
    recipe = loaded.config.recipe_name
    if loaded.kind == "classes":
        return ProbabilityRanker(shown_as, recipe, vectors)
    if loaded.kind == "concepts":
        asked = concept_queries(loaded, [query.text for query in queries])
        by_query = dict(zip((query.id for query in queries), asked, strict=True))
        return ConceptRanker(shown_as, recipe, vectors, by_query)
    texts = loaded.model.encode_texts([query.text for query in queries])
    by_id = {query.id: text for query, text in zip(queries, texts, strict=True)}
    return VectorRanker(shown_as, recipe, vectors, by_id)


def _multilabel(root: Path, loaded: LoadedRun) -> str | None:
    """Return the run that serves as `baseline:multilabel`: the run itself, or the first by name."""
    if loaded.kind == "classes":
        return loaded.name
    for name in list_runs(root):
        config = read_config(run_files(root, name))
        if config.model.kind == "classes" and set(loaded.bands) == set(config.model.inputs):
            return name
    return None


def _unanswered(queries: tuple[Query, ...], values: list[Value]) -> list[str]:
    """Return a note on queries that no gallery holds a relevant patch for."""
    answered = {value.query.id for value in values}
    missing = [query.text for query in queries if query.id not in answered]
    if not missing:
        return []
    return [f"{len(missing)} queries have no relevant patch in split corpus: {', '.join(missing)}"]
