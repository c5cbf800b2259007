"""The baselines' part of the report: curves, scores beside the references, example hits."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot

from baselines.checkpoints import LoadedRun, list_runs, load_run, run_files
from baselines.evaluation_rows import EvaluationRow, read_evaluation
from baselines.gallery import hit_cards
from baselines.headline import headline, headline_table, kinds_table
from baselines.queries import Query, read_queries
from baselines.references import RANDOM
from baselines.search import search
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.pages import Block, Cards, Figure, Paragraph, Section
from landmark.taxonomy import CLASSES

OpenRun = Callable[[Path, str], LoadedRun]

_EXAMPLES = 2
_HITS = 5
_SENSOR_NAMES = {"s1": "Sentinel-1", "s2": "Sentinel-2", "both": "both sensors"}


def sections(root: Path, *, open_run: OpenRun = load_run) -> tuple[Section, ...]:
    """Return one section per complete run; what is missing is said with the command that makes it.

    Args:
        root: Dataset directory.
        open_run: Loads a run by root and name.

    Raises:
        LandmarkError: A file of a run is damaged.
    """
    runs = list_runs(root)
    if not runs:
        missing = "No run is complete. `landmark train-baseline` trains one."
        return (Section("Baselines", (Paragraph(missing),)),)
    return tuple(
        Section(
            f"Run {run}",
            (*_curves(root, run), *_scores(root, run), *_examples(root, run, open_run)),
        )
        for run in runs
    )


def _curves(root: Path, run: str) -> tuple[Block, ...]:
    path = run_files(root, run).curves
    if not path.is_file():
        return (Paragraph("No training curves: curves.png of the run is missing."),)
    caption = "Losses while training, and scores on split val."
    return (Figure(path.read_bytes(), f"training curves of run {run}", caption),)


def _scores(root: Path, run: str) -> tuple[Block, ...]:
    rows = read_evaluation(root, run)
    if not rows:
        return (Paragraph("Not evaluated. `landmark evaluate` writes the scores."),)
    scores = headline(rows)
    blocks: list[Block] = []
    if scores:
        blocks.append(headline_table(scores))
    else:
        blocks.append(Paragraph("No class of prevalence at most 0.5 has a relevant patch."))
    blocks.append(kinds_table(rows))
    for sensor in _SENSOR_NAMES:
        own = [row for row in class_rows(rows) if row.sensor == sensor]
        if own and sensor != "both":
            caption = (
                f"Average precision per class, {_SENSOR_NAMES[sensor]}, split corpus; the mark is "
                "the expectation of a random ranking."
            )
            alt = f"average precision of run {run} per class, {_SENSOR_NAMES[sensor]}"
            blocks.append(Figure(class_chart(own, run), alt, caption))
    return tuple(blocks)


def class_rows(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Return the average precision rows of single classes: all events, unknown not relevant."""
    return [
        row
        for row in rows
        if row.metric == "map"
        and row.queries == "single"
        and row.class_name is not None
        and row.events == "all"
        and not row.judged
    ]


def class_chart(rows: Sequence[EvaluationRow], run: str) -> bytes:
    """Return a PNG of bars, a class each, with the random expectation as a mark.

    Args:
        rows: `class_rows` of one sensor.
        run: Run whose bars are drawn.
    """
    own = {row.class_name: row.value for row in rows if row.run == run}
    chance = {row.class_name: row.value for row in rows if row.run == RANDOM}
    names = [name for name in CLASSES if name in own]
    plot = Plot(figsize=(7.5, 0.32 * len(names) + 1.1), layout="constrained")
    FigureCanvasAgg(plot)
    axes = plot.add_subplot()
    places = range(len(names))
    axes.barh(places, [own[name] for name in names], color="#3b6ea5", label=run)
    axes.plot(
        [chance[name] for name in names],
        list(places),
        linestyle="none",
        marker="|",
        markersize=14,
        markeredgewidth=2.5,
        color="#d1495b",
        label="random",
    )
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("average precision")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    stream = io.BytesIO()
    plot.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def _examples(root: Path, run: str, open_run: OpenRun) -> tuple[Block, ...]:
    """Return the hits of example queries, where the gallery was embedded before."""
    if not any((run_files(root, run).folder / "embeddings").glob("*-corpus.parquet")):
        return (Paragraph("No example hits: `landmark search` embeds the gallery."),)
    blocks: list[Block] = []
    for query in example_queries(read_queries(Dataset(root))):
        try:
            result = search(root, query.text, run, top=_HITS, open_run=open_run)
        except InputError as error:
            blocks.append(Paragraph(f"“{query.text}”: {error}"))
            continue
        blocks.append(Paragraph(f"“{query.text}”, the {len(result.rows)} best hits:"))
        blocks.append(Cards(hit_cards(root, result)))
    return tuple(blocks)


def example_queries(queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return the queries shown: one combination and one single class, crisis classes first."""

    def crisis_first(query: Query) -> int:
        return -max((CLASSES.index(name) for name in query.classes), default=0)

    chosen = []
    for kind in ("combination", "single"):
        own = sorted((query for query in queries if query.kind == kind), key=crisis_first)
        chosen.extend(own[:1])
    return (*chosen, *(q for q in queries if q not in chosen))[:_EXAMPLES]
