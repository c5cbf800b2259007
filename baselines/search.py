"""Text -> patches: an exact scan of a run's gallery (split `corpus`).

What a run is asked, whatever its kind, is a `Question` (`baselines.concept_queries`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun, load_run
from baselines.concept_queries import NameQuestion, Question, questions
from baselines.documents import SENSORS
from baselines.embedding import Embeddings, embed
from baselines.metrics import ranking
from baselines.runs import choose_run
from baselines.translation import Request
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.progress import Progress
from landmark.shards import ShardReader

OpenRun = Callable[[Path, str], LoadedRun]
Score = Callable[[NDArray[np.float32]], NDArray[np.floating]]

_COLUMNS = ("patch_id", "sensor", "labels", "caption", "datetime", "lon", "lat")


@dataclass(frozen=True)
class Hit:
    """One patch found.

    Attributes:
        rank: From 1.
        score: Cosine, or log probability; larger is better.
        patch_id: The patch.
        sensor: `s1` or `s2`.
        labels: Classes it carries.
        caption: Its short caption.
        acquired: Acquisition time, ISO 8601, UTC.
        lon: Longitude of its centre, degrees.
        lat: Latitude of its centre, degrees.
        shard: Shard file, relative to the dataset.
        row: Row in that file.
    """

    rank: int
    score: float
    patch_id: str
    sensor: str
    labels: tuple[str, ...]
    caption: str
    acquired: str
    lon: float
    lat: float
    shard: str
    row: int


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        text: The query.
        run: The run asked.
        recipe: How it was trained.
        sensor: `s1`, `s2` or `both`.
        gallery: How many patches were ranked.
        understood: The classes read off the text (`not` before excluded ones).
        request: The text in classes, if it was translated.
        rows: Best first; ties by patch_id.
    """

    text: str
    run: str
    recipe: str
    sensor: str
    gallery: int
    understood: tuple[str, ...]
    request: Request | None
    rows: tuple[Hit, ...]

    def to_list(self) -> list[dict[str, Any]]:
        """Return rows `{rank, score, patch_id, sensor, labels}`: what `search --json` prints."""
        return [
            {
                "rank": hit.rank,
                "score": hit.score,
                "patch_id": hit.patch_id,
                "sensor": hit.sensor,
                "labels": list(hit.labels),
            }
            for hit in self.rows
        ]


def search(
    root: Path,
    text: str,
    run: str | None = None,
    sensor: str | None = None,
    top: int = 10,
    progress: Progress | None = None,
    *,
    understand: bool = True,
    open_run: OpenRun = load_run,
) -> SearchResult:
    """Return the patches of split `corpus` that fit a text best.

    The gallery is embedded at the first search and whenever the run or the shards changed.

    Args:
        root: Dataset directory.
        text: What to look for.
        run: Run name; None: `clip`, or the only run.
        sensor: `s1` or `s2`; None: both.
        top: How many hits at most.
        progress: Told of patches embedded.
        understand: Translate the text to classes.
        open_run: Loads a run by root and name.

    Raises:
        InputError: The text holds no word, an option is wrong, the run is missing or cannot
            answer the text, or there is nothing to search in.
        LandmarkError: A file is damaged.
    """
    if not re.search(r"\w", text):
        raise InputError("search text is empty; give words such as 'flooded area next to crops'")
    if top < 1:
        raise InputError(f"--top is {top}; give a number from 1")
    if sensor not in (None, *SENSORS):
        raise InputError(f"--sensor is {sensor!r}; give s1 or s2")
    loaded = open_run(root, choose_run(root, run))
    (question,) = questions(loaded, [text], understand=understand)
    wanted = SENSORS if sensor is None else (sensor,)
    files = embed(root, loaded, sensors=wanted, progress=progress)
    if not files:
        raise InputError(_nothing_to_search(root, loaded, sensor))
    scores = _scan(files, question.scores)
    best = _best(files, scores, top)
    places = _places(Dataset(root), files, best)
    rows = tuple(
        Hit(rank=rank, score=float(scores[position]), **places[position])
        for rank, position in enumerate(best, start=1)
    )
    return SearchResult(
        text=text,
        run=loaded.name,
        recipe=loaded.config.recipe_name,
        sensor=files[0].sensor if len(files) == 1 else "both",
        gallery=scores.size,
        understood=_understood(question),
        request=question.request,
        rows=rows,
    )


def _understood(question: Question) -> tuple[str, ...]:
    if isinstance(question, NameQuestion):
        return (*question.classes, *(f"not {name}" for name in question.absent))
    return question.request.understood if question.request is not None else ()


def _nothing_to_search(root: Path, loaded: LoadedRun, sensor: str | None) -> str:
    if sensor is not None and sensor not in loaded.bands:
        return f"{root}: run {loaded.name!r} was not trained on sensor {sensor}; leave --sensor out"
    which = "no patches" if sensor is None else f"no {sensor} patches"
    return (
        f"{root}: split corpus holds {which} to search in; give splits.corpus a larger share and "
        "run `landmark harmonize` again"
    )


def _scan(
    files: Sequence[Embeddings],
    score: Score,
) -> NDArray[np.float32]:
    """Return (n,) float32 scores of all files, one after another, in constant memory but these."""
    parts = [score(part) for file in files for part in file.vectors()]
    return np.concatenate(parts).astype(np.float32)


def _best(files: Sequence[Embeddings], scores: NDArray[np.float32], top: int) -> list[int]:
    """Return the positions of the best scores, ties by patch_id."""
    if np.isnan(scores).any():
        ranking(scores)  # raises the one message for damaged vectors
    count = min(top, scores.size)
    threshold = np.partition(scores, scores.size - count)[scores.size - count]
    candidates = np.flatnonzero(scores >= threshold)
    ids = pa.chunked_array([chunk for file in files for chunk in file.patch_ids().chunks])
    order = pc.sort_indices(ids.take(pa.array(candidates))).to_numpy()
    candidates = candidates[order]
    return [int(position) for position in candidates[ranking(scores[candidates])][:count]]


def _places(
    dataset: Dataset, files: Sequence[Embeddings], positions: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Return, per position in the scanned order, what a hit tells of its patch."""
    found: dict[int, dict[str, Any]] = {}
    start = 0
    for file in files:
        for shard in file.shards:
            rows = pq.read_metadata(shard).num_rows
            wanted = [p for p in positions if start <= p < start + rows]
            if wanted:
                found.update(_facts(dataset, shard, start, wanted))
            start += rows
    if len(found) != len(positions):
        raise LandmarkError(
            "embeddings and shards hold different patches; remove runs/*/embeddings"
        )
    return found


def _facts(
    dataset: Dataset, shard: Path, start: int, positions: Sequence[int]
) -> dict[int, dict[str, Any]]:
    with ShardReader(shard) as reader:
        table = reader.table(_COLUMNS).take([position - start for position in positions])
    found = {}
    for position, raw in zip(positions, table.to_pylist(), strict=True):
        found[position] = {
            "patch_id": raw["patch_id"],
            "sensor": raw["sensor"],
            "labels": tuple(raw["labels"]),
            "caption": raw["caption"],
            "acquired": raw["datetime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lon": raw["lon"],
            "lat": raw["lat"],
            "shard": shard.relative_to(dataset.root).as_posix(),
            "row": position - start,
        }
    return found
