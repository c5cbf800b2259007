"""Source shortcuts: what can be told from trivial statistics alone, without seeing any structure.

From the mean and spread of each band, the share and place of missing pixels and whether pixels
were resampled, a linear probe fitted on train predicts in corpus (a) the source of each patch and
(b) each crisis class; once on pixels as they were delivered (offset still in, power as stored at
the source) and once as they are in the shards. Retrieval scores can ride on what it finds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines import metrics
from baselines.documents import SENSORS
from landmark.commits import atomic_path
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.plan_file import PlanFile
from landmark.progress import Progress
from landmark.shards import ShardReader
from landmark.taxonomy import CRISIS_MASK, bit, names_of

RUN = "baseline:source_statistics"
#: Patches read per sensor and split at most, spread evenly over its shards.
MOST_PATCHES = 1000
_COLUMNS = ("patch_id", "sensor", "platform", "label_mask", "known_mask", "provenance")
#: Ridge penalty on standardized features, per patch.
_PENALTY = 1e-2


@dataclass(frozen=True)
class Shortcut:
    """One line of the table.

    Attributes:
        sensor: `s1` or `s2`.
        target: `source`, or a crisis class.
        metric: `balanced_accuracy` for the source, `map` (average precision) for a class.
        chance: What a probe that knows nothing reaches.
        before: On pixels as delivered.
        after: On pixels as they are in the shards.
        train: Patches the probe was fitted on.
        corpus: Patches it was tried on.
    """

    sensor: str
    target: str
    metric: str
    chance: float
    before: float
    after: float
    train: int
    corpus: int


@dataclass(frozen=True)
class _Sample:
    """Patches of one sensor and split: features before and after, sources, masks."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    sources: NDArray[np.str_]
    labels: NDArray[np.int64]
    known: NDArray[np.int64]


def source_shortcuts(root: Path, progress: Progress) -> tuple[Shortcut, ...]:
    """Measure the shortcuts of a dataset, and write them to `runs/source_shortcuts.json`.

    The file holds the table and, as rows of an evaluation, the run `baseline:source_statistics`.

    Args:
        root: The dataset directory, harmonized with shards.
        progress: Is told of every patch read.

    Raises:
        InputError: There are no shards of train or corpus.
    """
    dataset = Dataset(root)
    dataset.require(dataset.index, "harmonize")
    units = {scene.item: scene.unit for scene in PlanFile(dataset.plan).kept_scenes()}
    table: list[Shortcut] = []
    progress.start("statistics", 2 * len(SENSORS))
    for sensor in SENSORS:
        samples = []
        for split in ("train", "corpus"):
            samples.append(_read(dataset, sensor, split, units))
            progress.advance()
        if all(sample is not None for sample in samples):
            table += _probe(sensor, *(s for s in samples if s is not None))
    progress.finish()
    if not table:
        raise InputError(
            f"{root}: no sensor has shards of both train and corpus; run `landmark harmonize` first"
        )
    _write(dataset, table)
    return tuple(table)


def statistics_of(image: NDArray[Any], missing: NDArray[np.bool_], resampled: bool) -> list[float]:
    """Return the trivial statistics of one image.

    Args:
        image: (bands, rows, columns), any unit.
        missing: Same shape, True where there is no data.
        resampled: Whether pixels were interpolated.

    Returns:
        Mean and standard deviation per band (0 where all is missing), the share of missing
        pixels in all and in each quarter, and 1 where pixels were resampled.
    """
    values = np.where(missing, np.nan, image.astype(np.float64))
    seen = np.maximum((~missing).sum(axis=(1, 2)), 1)
    mean = np.nansum(values, axis=(1, 2)) / seen
    spread = np.sqrt(np.nansum((values - mean[:, None, None]) ** 2, axis=(1, 2)) / seen)
    holes: NDArray[np.bool_] = np.logical_or.reduce(missing, axis=0)
    half = holes.shape[0] // 2
    quarters = [holes[:half, :half], holes[:half, half:], holes[half:, :half], holes[half:, half:]]
    shares = [float(holes.mean()), *(float(quarter.mean()) for quarter in quarters)]
    return [*mean.tolist(), *spread.tolist(), *shares, float(resampled)]


def as_delivered(image: NDArray[Any], sensor: str, offset: int | None, unit: str) -> NDArray[Any]:
    """Return stored values as the source delivers them: with offset, in its unit."""
    if sensor == "s2":
        return np.where(image > 0, image.astype(np.float64) - (offset or 0), 0.0)
    return 10.0 ** (image.astype(np.float64) / 10.0) if unit == "linear" else image


def _read(dataset: Dataset, sensor: str, split: str, units: dict[str, Any]) -> _Sample | None:
    paths = dataset.split_shards(sensor, split)
    rows: list[tuple[list[float], list[float], str, int, int]] = []
    share = -(-MOST_PATCHES // max(len(paths), 1))
    for path in paths:
        with ShardReader(path) as reader:
            # Shards are mixed already: their first rows are a fair sample.
            records = reader.table(_COLUMNS).slice(0, share).to_pylist()
            for number, record in enumerate(records):
                image = reader.image(number)
                missing = np.isnan(image) if sensor == "s1" else image == 0
                facts = record["provenance"] or {}
                unit = str(units.get(facts.get("item") or "", ""))
                raw = as_delivered(image, sensor, facts.get("offset"), unit)
                resampled = facts.get("resampling") not in (None, "none")
                rows.append(
                    (
                        statistics_of(raw, missing, resampled),
                        statistics_of(image, missing, resampled),
                        _source(record),
                        record["label_mask"],
                        record["known_mask"],
                    )
                )
    if not rows:
        return None
    before, after, sources, labels, known = zip(*rows, strict=True)
    return _Sample(
        np.array(before),
        np.array(after),
        np.array(sources, dtype=np.str_),
        np.array(labels, dtype=np.int64),
        np.array(known, dtype=np.int64),
    )


def _source(record: dict[str, Any]) -> str:
    facts = record["provenance"] or {}
    names = ("provider", "collection", "baseline", "quantity")
    return "|".join([record["platform"] or "", *(str(facts.get(name) or "") for name in names)])


def _probe(sensor: str, train: _Sample, corpus: _Sample) -> list[Shortcut]:
    sizes = len(train.labels), len(corpus.labels)
    lines = []
    # Only sources the probe has seen can be told.
    names = np.unique(train.sources)
    known = np.isin(corpus.sources, names)
    present = np.unique(corpus.sources[known])
    if names.size > 1 and present.size > 1:
        targets = (train.sources[:, None] == names).astype(np.float64)
        scores = [
            _balanced_accuracy(
                names[np.argmax(_ridge(x, targets, y), axis=1)], corpus.sources, present
            )
            for x, y in ((train.before, corpus.before), (train.after, corpus.after))
        ]
        lines.append(
            Shortcut(
                sensor,
                "source",
                "balanced_accuracy",
                1.0 / names.size,
                before=scores[0],
                after=scores[1],
                train=sizes[0],
                corpus=sizes[1],
            )
        )
    for name in names_of(CRISIS_MASK):
        flag = bit(name)
        decided = (train.known & flag) != 0
        carried = (train.labels & flag) != 0
        relevant = (corpus.labels & flag) != 0
        if not relevant.any() or not carried[decided].any() or carried[decided].all():
            continue
        target = carried[decided].astype(np.float64)[:, None]
        values = []
        for x, y in ((train.before, corpus.before), (train.after, corpus.after)):
            order = metrics.ranking(_ridge(x[decided], target, y)[:, 0])
            values.append(float(metrics.average_precision(relevant[order])))
        chance = metrics.random_average_precision(relevant.size, int(relevant.sum()))
        lines.append(
            Shortcut(
                sensor,
                name,
                "map",
                float(chance),
                before=values[0],
                after=values[1],
                train=sizes[0],
                corpus=sizes[1],
            )
        )
    return lines


def _ridge(
    train: NDArray[np.float64], targets: NDArray[np.float64], corpus: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the scores (corpus, targets) of a ridge regression on standardized features."""
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    x, y = (train - centre) / scale, (corpus - centre) / scale
    gram = x.T @ x + _PENALTY * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (targets - targets.mean(axis=0)))
    scores: NDArray[np.float64] = y @ weights + targets.mean(axis=0)
    return scores


def _balanced_accuracy(
    guessed: NDArray[np.str_], true: NDArray[np.str_], names: NDArray[np.str_]
) -> float:
    return float(np.mean([(guessed[true == name] == name).mean() for name in names]))


def _write(dataset: Dataset, table: Sequence[Shortcut]) -> None:
    rows = [
        {
            "run": RUN,
            "recipe": None,
            "sensor": line.sensor,
            "queries": "single",
            "class": line.target,
            "events": "all",
            "relevance": "binary",
            "judged": False,
            "metric": line.metric,
            "k": None,
            "value": line.after,
            "low": None,
            "high": None,
        }
        for line in table
        if line.metric == "map"
    ]
    content = {"table": [asdict(line) for line in table], "rows": rows}
    dataset.runs.mkdir(exist_ok=True)
    with atomic_path(dataset.runs / "source_shortcuts.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
