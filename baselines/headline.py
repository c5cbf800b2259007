"""The few numbers shown first, beside the references: over single classes, and per kind of query.

Classes that most patches carry are left out: there, any ranking scores high. A class counts where
its prevalence in the gallery (the share of patches that carry it) is at most `MAX_PREVALENCE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.evaluation_rows import SEARCH, EvaluationRow, place_of
from baselines.references import RANDOM
from landmark.pages import Table

MAX_PREVALENCE = 0.5


@dataclass(frozen=True)
class Headline:
    """Mean average precision of one run in one gallery.

    Attributes:
        run: Run, or `baseline:...`.
        sensor: `s1`, `s2` or `both`.
        classes: How many single-class queries it is the mean of.
        value: Mean average precision.
        ratio: `value` over the random reference's, same classes.
    """

    run: str
    sensor: str
    classes: int
    value: float
    ratio: float


def headline(rows: Iterable[EvaluationRow]) -> tuple[Headline, ...]:
    """Return the headline scores, sensors in order, runs before references.

    The expected R-precision of a random ranking is the prevalence, so the rows alone say which
    classes count. Texts of single classes are their names, which a search has nothing to translate
    in: its rows are left out.
    """
    singles = [
        row
        for row in rows
        if row.queries == "single"
        and row.class_name is not None
        and row.events == "all"
        and row.relevance == "binary"
        and not row.judged
        and not row.run.endswith(SEARCH)
    ]
    counted = {
        (row.sensor, row.class_name)
        for row in singles
        if row.run == RANDOM and row.metric == "r_precision" and row.value <= MAX_PREVALENCE
    }
    values: dict[tuple[str, str], list[float]] = {}
    for row in singles:
        if row.metric == "map" and (row.sensor, row.class_name) in counted:
            values.setdefault((row.sensor, row.run), []).append(row.value)
    scores = []
    for sensor in ("s1", "s2", "both"):
        runs = [run for own, run in values if own == sensor]
        for run in sorted(runs, key=_place):
            own = values[sensor, run]
            value, chance = float(np.mean(own)), float(np.mean(values[sensor, RANDOM]))
            scores.append(Headline(run, sensor, len(own), value, value / chance))
    return tuple(scores)


def headline_table(scores: Sequence[Headline]) -> Table:
    """Return the scores as a table: a row per run, per sensor value and ratio to random."""
    sensors = list(dict.fromkeys(score.sensor for score in scores))
    runs = list(dict.fromkeys(score.run for score in sorted(scores, key=lambda s: _place(s.run))))
    found = {(score.run, score.sensor): score for score in scores}
    columns = ["run"]
    for sensor in sensors:
        columns += [f"mAP {sensor}", f"{sensor} / random"]
    lines: list[tuple[str | float | None, ...]] = []
    for run in runs:
        line: list[str | float | None] = [run]
        for sensor in sensors:
            score = found.get((run, sensor))
            line += (
                [None, None] if score is None else [round(score.value, 3), round(score.ratio, 2)]
            )
        lines.append(tuple(line))
    counts = ", ".join(
        f"{sensor} {max(score.classes for score in scores if score.sensor == sensor)}"
        for sensor in sensors
    )
    return Table(
        columns=tuple(columns),
        rows=tuple(lines),
        caption=(
            "Mean average precision over single-class queries of prevalence at most "
            f"{MAX_PREVALENCE:g} (classes: {counts}), full ranking of split corpus, and its ratio "
            "to a random ranking."
        ),
    )


#: Kinds of queries in the order shown, and events where a line of the table counts only those.
_SHOWN = (
    *((kind, "all") for kind in ("single", "combination", "held_out", "paraphrase", "negation")),
    ("published", "all"),
    ("single", "seen"),
    ("single", "unseen"),
)


def kinds_table(rows: Sequence[EvaluationRow]) -> Table:
    """Return a table of every kind of query and every run: mAP with its interval, and nDCG.

    The gallery is that of both sensors, or of the only one.
    """
    sensors = {row.sensor for row in rows}
    sensor = "both" if "both" in sensors else next(iter(sorted(sensors)), "both")
    means = {
        (row.queries, row.events, row.run, row.relevance, row.metric): row
        for row in rows
        if row.sensor == sensor and row.class_name is None and not row.judged and row.k is None
    }
    lines: list[tuple[str | float | None, ...]] = []
    runs = sorted({row.run for row in rows}, key=_place)
    for kind, events in _SHOWN:
        for run in runs:
            own = means.get((kind, events, run, "binary", "map"))
            if own is None:
                continue
            binary, graded = (
                means[kind, events, run, relevance, "ndcg"] for relevance in ("binary", "graded")
            )
            name = kind.replace("_", " ") + ("" if events == "all" else f", {events} events")
            figures = (own.value, own.low, own.high, binary.value, graded.value)
            shown = (None if figure is None else round(figure, 3) for figure in figures)
            lines.append((name, run, *shown))
    return Table(
        columns=("queries", "run", "mAP", "low", "high", "nDCG", "graded nDCG"),
        rows=tuple(lines),
        caption=(
            f"Means over the queries of a kind, all classes, gallery {sensor}, full ranking; low "
            "and high: 90 % bootstrap interval of mAP over blocks of ground and queries. Recipe "
            "multilabel and the references are given a query's classes, not its words; runs of "
            "vectors are asked the text as it stands, and as `:search` what search makes of it."
        ),
    )


def _place(run: str) -> tuple[int, str]:
    return place_of(run), run
