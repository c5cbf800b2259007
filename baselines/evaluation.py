"""Retrieval scores of a run beside the references: `runs/<name>/evaluation.json`.

Gallery: split `corpus`, per sensor and both, and per source in a file of its own. A row is a mean
over queries with a 90 % bootstrap interval over blocks of ground and those queries
(`baselines.resampling`; docs/evaluation.md has all definitions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun, list_runs, load_run, read_config, run_files
from baselines.concept_queries import concept_queries, searched_vectors
from baselines.documents import SENSORS, Documents, event_flags, read_documents
from baselines.embedding import embed, order_in
from baselines.evaluation_rows import (
    BY_SOURCE_FILE,
    FILE,
    SEARCH,
    EvaluationRow,
    aggregate,
    encode,
    place_of,
    read_evaluation,
)
from baselines.published import read_grades
from baselines.queries import Query, read_queries
from baselines.rankers import ConceptRanker, FileRanker, ProbabilityRanker, Ranker, VectorRanker
from baselines.references import (
    FACT_COLUMNS,
    LABEL_FREQUENCY,
    MULTILABEL,
    SOURCE_SHORTCUT,
    label_frequency,
    source_shortcut,
)
from baselines.resampling import ground_blocks, resampling
from baselines.runs import choose_run
from baselines.scoring import Outcome, score
from landmark.commits import write_atomic
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.progress import Progress, Silent

OpenRun = Callable[[Path, str], LoadedRun]
_Asked = TypeVar("_Asked")

__all__ = ["EvaluationResult", "EvaluationRow", "evaluate", "read_evaluation"]

_COLUMNS = (*FACT_COLUMNS, "lon", "lat")
#: Fewer blocks of ground than this make intervals that are hardly more than a guess.
_FEW_BLOCKS = 10


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of one run and the references.

    Attributes:
        run: The run evaluated.
        path: Where the rows were written.
        rows: All rows.
        by_source: The rows of each source apart, where a sensor has several.
        notes: What was left out, one line each.
    """

    run: str
    path: Path
    rows: tuple[EvaluationRow, ...]
    by_source: tuple[EvaluationRow, ...]
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

    The run that serves as `baseline:multilabel` is scored by the way, and gets its file too.

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
    corpus = _of_sensors(read_documents(dataset, "corpus", _COLUMNS), loaded)
    train = _of_sensors(read_documents(dataset, "train", FACT_COLUMNS), loaded)
    notes: list[str] = []
    rankers = [
        *_rankers(root, loaded, name, corpus, queries, shown, notes.append),
        ProbabilityRanker(LABEL_FREQUENCY, None, label_frequency(train, corpus)),
        ProbabilityRanker(SOURCE_SHORTCUT, None, source_shortcut(train, corpus)),
    ]
    multilabel = _multilabel(root, loaded)
    if multilabel is None:
        notes.append(
            f"{MULTILABEL} is left out: no run of recipe multilabel for these sensors; "
            "`landmark train-baseline --recipe multilabel --run multilabel` makes one"
        )
    else:
        other = loaded if multilabel == name else open_run(root, multilabel)
        rankers.extend(_rankers(root, other, MULTILABEL, corpus, queries, shown, notes.append))
        notes.append(f"{MULTILABEL} is run {multilabel!r}")
    blocks = ground_blocks(corpus)
    notes.extend(_few_blocks(blocks))
    outcomes = score(
        corpus,
        queries,
        rankers,
        event_flags(corpus, train, *_validation(dataset, loaded)),
        shown,
        read_grades(dataset),
        resampling(blocks),
    )
    notes.extend(_unanswered(queries, outcomes))
    if not outcomes:
        raise InputError(
            f"{root}: no query has a relevant patch in split corpus; make the area larger or add "
            "label sources"
        )
    rows = aggregate(outcomes)
    path = _write(root, name, rows)
    if multilabel is not None and multilabel != name:
        _write(root, multilabel, _as_run(rows, multilabel))
    return EvaluationResult(
        name,
        path,
        tuple(row for row in rows if row.source is None),
        tuple(row for row in rows if row.source is not None),
        tuple(notes),
    )


def _write(root: Path, run: str, rows: tuple[EvaluationRow, ...]) -> Path:
    folder = run_files(root, run).folder
    write_atomic(folder / BY_SOURCE_FILE, encode(row for row in rows if row.source is not None))
    write_atomic(folder / FILE, encode(row for row in rows if row.source is None))
    return folder / FILE


def _as_run(rows: tuple[EvaluationRow, ...], multilabel: str) -> tuple[EvaluationRow, ...]:
    """Return the rows that evaluating the multilabel run itself would give: it was ranked too."""
    own = (replace(row, run=multilabel) for row in rows if row.run == MULTILABEL)
    return (*own, *(row for row in rows if place_of(row.run)))


def _validation(dataset: Dataset, loaded: LoadedRun) -> list[Documents]:
    """Return the patches of split val a run was chosen on: of its sensors; there may be none."""
    if not any(dataset.split_shards(sensor, "val") for sensor in SENSORS):
        return []
    documents = read_documents(dataset, "val")
    return [documents.of_sensor(sensor) for sensor in SENSORS if sensor in loaded.bands]


def _few_blocks(blocks: NDArray[np.str_]) -> list[str]:
    count = np.unique(blocks).size
    if count >= _FEW_BLOCKS:
        return []
    return [f"split corpus lies in {count} blocks of ground: too few for intervals to mean much"]


def _of_sensors(documents: Documents, loaded: LoadedRun) -> Documents:
    """Return the documents of the sensors a run was trained on.

    Raises:
        InputError: There are documents, but none of these sensors.
    """
    sensors = set(documents.sensors.tolist()) & set(loaded.bands)
    if len(documents) and not sensors:
        raise InputError(
            f"run {loaded.name!r} was trained on {' and '.join(sorted(loaded.bands))}, and split "
            "corpus holds no patch of it; train a run on this dataset's sensors"
        )
    return documents.of_sensor(sensors.pop()) if len(sensors) == 1 else documents


def _rankers(
    root: Path,
    loaded: LoadedRun,
    shown_as: str,
    documents: Documents,
    queries: tuple[Query, ...],
    progress: Progress,
    note: Callable[[str], None],
) -> list[Ranker]:
    """Return a run's ranking; for a run of vectors that of a search too, where one is possible."""
    files = embed(root, loaded, progress=progress)
    recipe = loaded.config.recipe_name
    made = partial(FileRanker, recipe=recipe, files=files, order=order_in(files, documents))
    texts = [query.text for query in queries]

    def by_query(asked: Iterable[_Asked]) -> dict[str, _Asked]:
        return {query.id: one for query, one in zip(queries, asked, strict=True)}

    if loaded.kind == "classes":
        return [made(shown_as, of_part=partial(ProbabilityRanker, shown_as, recipe))]
    if loaded.kind == "concepts":
        queried = by_query(concept_queries(loaded, texts))
        return [
            made(shown_as, of_part=partial(ConceptRanker, shown_as, recipe, asked=queried)),
        ]
    rankings = {shown_as: by_query(loaded.model.encode_texts(texts))}
    try:
        rankings[f"{shown_as}{SEARCH}"] = by_query(searched_vectors(loaded, texts))
    except InputError as error:
        note(f"{shown_as}{SEARCH} is left out: {error}")
    return [
        made(name, of_part=partial(VectorRanker, name, recipe, texts=vectors))
        for name, vectors in rankings.items()
    ]


def _multilabel(root: Path, loaded: LoadedRun) -> str | None:
    """Return the run that serves as `baseline:multilabel`: the run itself, or the first by name."""
    if loaded.kind == "classes":
        return loaded.name
    for name in list_runs(root):
        config = read_config(run_files(root, name))
        if config.model.kind == "classes" and set(loaded.bands) == set(config.model.inputs):
            return name
    return None


def _unanswered(queries: tuple[Query, ...], outcomes: list[Outcome]) -> list[str]:
    """Return a note on queries that no gallery holds a relevant patch for."""
    answered = {one.query.id for one in outcomes}
    missing = [query.text for query in queries if query.id not in answered]
    if not missing:
        return []
    return [f"{len(missing)} queries have no relevant patch in split corpus: {', '.join(missing)}"]
