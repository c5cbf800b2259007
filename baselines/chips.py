"""Scene classification of chips with a run: zero-shot by texts, and a linear probe.

Both are accuracies with 90 % Wilson intervals, over all classes and for each. The probe is a
logistic regression on what the run says of a chip (vectors, class probabilities), standardised;
half of the chips of each class train it, the other half try it, dealt by a fixed seed. Beside
them: guessing (one over the classes), always the most frequent class, and the same probe on the
mean and spread of each band, which sees no structure at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from baselines.checkpoints import LoadedRun, load_run, run_files
from baselines.concept_queries import concept_queries
from baselines.embedding import BATCH, describe
from baselines.runs import choose_run
from baselines.shortcuts import statistics_of
from landmark.chip_texts import chip_texts
from landmark.chips import EUROSAT_BANDS, S1_BANDS, Chip, list_chips, read_chip
from landmark.commits import write_atomic
from landmark.errors import InputError
from landmark.pages import Table
from landmark.progress import Progress, Silent

FILE = "chips.json"
GUESS = "baseline:random"
MAJORITY = "baseline:majority"
STATISTICS = "baseline:band_statistics"
#: Dealing of the probe's halves.
SEED = 0
#: Fewest chips of a class: one for each half of the probe.
_FEWEST = 2
_CONFIDENCE = 0.9
_ITERATIONS = 2000

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ChipRow:
    """One accuracy.

    Attributes:
        run: Run, or `baseline:...`.
        recipe: Recipe of the run, or None.
        task: `zero_shot` (all chips) or `probe` (its second half).
        class_name: The class (`class` in JSON); None: over all chips.
        chips: How many chips were classified.
        accuracy: 0..1; of a class, its recall.
        low: Lower end of the 90 % Wilson interval; None for guessing, which is exact.
        high: Upper end.
    """

    run: str
    recipe: str | None
    task: str
    class_name: str | None
    chips: int
    accuracy: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `class_name` is called `class`."""
        return {("class" if k == "class_name" else k): v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class ChipResult:
    """Accuracies of one run and what they are compared with.

    Attributes:
        run: The run.
        path: Where the rows were written.
        rows: All rows.
        notes: What was left out or has to be kept in mind, one line each.
    """

    run: str
    path: Path
    rows: tuple[ChipRow, ...]
    notes: tuple[str, ...]


def classify_chips(
    root: Path,
    folder: Path,
    run: str | None = None,
    bands: Sequence[str] | None = None,
    texts: Path | None = None,
    progress: Progress | None = None,
    *,
    open_run: Callable[[Path, str], LoadedRun] = load_run,
) -> ChipResult:
    """Classify chips with a run; write `runs/<name>/chips.json`.

    Args:
        root: Dataset directory the run lies in.
        folder: One folder of GeoTIFF chips per class.
        run: Run name; None: `clip`, or the only run.
        bands: Bands of the files in order; None: EuroSAT's 13.
        texts: CSV of texts per class (`landmark.chip_texts`); None: those shipped.
        progress: Told of every chip.
        open_run: Loads a run by root and name.

    Raises:
        InputError: The chips, their bands or texts do not fit, or the run is missing.
        LandmarkError: A chip cannot be read.
    """
    chips = list_chips(folder)
    names = sorted({chip.class_name for chip in chips})
    truth = np.array([names.index(chip.class_name) for chip in chips])
    few = [name for name, count in zip(names, np.bincount(truth), strict=True) if count < _FEWEST]
    if few:
        raise InputError(f"{folder}: class {few[0]} has one chip; the probe needs two of each")
    asked = chip_texts(names, texts)
    loaded = open_run(root, choose_run(root, run))
    held = tuple(bands or EUROSAT_BANDS)
    sensor = "s1" if S1_BANDS.issuperset(held) else "s2"
    if sensor not in loaded.bands:
        raise InputError(f"{root}: run {loaded.name!r} was not trained on sensor {sensor}")
    described, statistics = _describe(loaded, sensor, chips, held, progress or Silent())
    recipe = loaded.config.recipe_name
    rows = list(_zero_shot(loaded, described, truth, names, asked))
    notes = [] if rows else [f"zero-shot is left out: run {loaded.name!r} has no text side"]
    rows += _probes(loaded.name, recipe, described, statistics, truth, names)
    smallest = int(np.bincount(truth).min())
    if smallest < 100:
        notes.append(
            f"{len(chips)} chips, {smallest} of the smallest class: mind the width of the intervals"
        )
    path = run_files(root, loaded.name).folder / FILE
    write_atomic(path, json.dumps([row.to_dict() for row in rows], indent=1) + "\n")
    return ChipResult(loaded.name, path, tuple(rows), tuple(notes))


def chips_table(rows: Sequence[ChipRow]) -> Table:
    """Return the accuracies over all chips, the run's beside what it is compared with."""
    return Table(
        columns=("task", "run", "chips", "accuracy", "low", "high"),
        rows=tuple(
            (_words(row.task), row.run, row.chips, *map(_shown, (row.accuracy, row.low, row.high)))
            for row in rows
            if row.class_name is None
        ),
        caption="Accuracy of scene classification; low and high: 90 % Wilson interval.",
    )


def class_table(rows: Sequence[ChipRow]) -> Table:
    """Return the run's accuracy in every class, a column per task."""
    own = {
        (row.task, row.class_name): row.accuracy
        for row in rows
        if row.class_name is not None and not row.run.startswith("baseline:")
    }
    tasks = list(dict.fromkeys(task for task, _ in own))
    names = list(dict.fromkeys(name for _, name in own))
    return Table(
        columns=("class", *map(_words, tasks)),
        rows=tuple((name, *(_shown(own.get((task, name))) for task in tasks)) for name in names),
        caption="Share of each class's chips that are classified rightly.",
    )


def _words(task: str) -> str:
    return task.replace("_", "-")


def _shown(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _describe(
    loaded: LoadedRun, sensor: str, chips: Sequence[Chip], held: Sequence[str], progress: Progress
) -> tuple[Floats, Floats]:
    """Return (n, d) what the run says of the chips, and (n, s) their trivial statistics."""
    wanted = loaded.bands[sensor]
    described, statistics = [], []
    progress.start("Describing chips", len(chips))
    for start in range(0, len(chips), BATCH):
        batch = np.stack([read_chip(c, held, wanted) for c in chips[start : start + BATCH]])
        described.append(describe(loaded, sensor, batch))
        for image in batch:
            missing = np.isnan(image) if sensor == "s1" else image == 0
            statistics.append(statistics_of(image, missing, resampled=False))
        progress.advance(len(batch))
    progress.finish()
    return np.concatenate(described), np.array(statistics)


def _zero_shot(
    loaded: LoadedRun,
    described: Floats,
    truth: NDArray[np.int64],
    names: list[str],
    asked: dict[str, tuple[str, ...]],
) -> Iterator[ChipRow]:
    if loaded.kind == "classes":
        return
    if loaded.kind == "concepts":
        scores = [
            np.mean([one.scores(described) for one in concept_queries(loaded, own)], axis=0)
            for own in asked.values()
        ]
    else:
        vectors = [loaded.model.encode_texts(list(own)).mean(axis=0) for own in asked.values()]
        scores = [described @ (vector / np.linalg.norm(vector)) for vector in vectors]
    guessed = np.stack(scores, axis=1).argmax(axis=1)
    yield from _accuracies(
        loaded.name, loaded.config.recipe_name, "zero_shot", guessed, truth, names
    )
    yield from _trivial("zero_shot", truth, np.bincount(truth).argmax(), len(names))


def _probes(
    run: str,
    recipe: str | None,
    described: Floats,
    statistics: Floats,
    truth: NDArray[np.int64],
    names: list[str],
) -> Iterator[ChipRow]:
    train, test = train_test_split(
        np.arange(truth.size), test_size=0.5, random_state=SEED, stratify=truth
    )
    for name, own, features in ((run, recipe, described), (STATISTICS, None, statistics)):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
        guessed = probe.fit(features[train], truth[train]).predict(features[test])
        yield from _accuracies(name, own, "probe", guessed, truth[test], names)
    yield from _trivial("probe", truth[test], np.bincount(truth[train]).argmax(), len(names))


def _accuracies(
    run: str,
    recipe: str | None,
    task: str,
    guessed: NDArray[np.int64],
    truth: NDArray[np.int64],
    names: list[str],
) -> Iterator[ChipRow]:
    right = guessed == truth
    yield _row(run, recipe, task, None, right)
    for place, name in enumerate(names):
        if (truth == place).any():
            yield _row(run, recipe, task, name, right[truth == place])


def _trivial(task: str, truth: NDArray[np.int64], most: np.intp, classes: int) -> Iterator[ChipRow]:
    yield ChipRow(GUESS, None, task, None, truth.size, round(1 / classes, 6), None, None)
    yield _row(MAJORITY, None, task, None, truth == most)


def _row(
    run: str, recipe: str | None, task: str, class_name: str | None, right: NDArray[np.bool_]
) -> ChipRow:
    hits, tried = int(right.sum()), right.size
    ends = binomtest(hits, tried).proportion_ci(_CONFIDENCE, method="wilson")
    low, high = (round(float(end), 6) for end in (ends.low, ends.high))
    return ChipRow(run, recipe, task, class_name, tried, round(hits / tried, 6), low, high)
