"""Text or patch -> patches: an exact scan of what a run says of every patch.

What a run is asked, whatever its kind, is a question that scores blocks of patches
(`baselines.concept_queries`, `baselines.likeness`); `baselines.filters` says which patches count,
`baselines.scanning` finds the best of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun, load_run
from baselines.closp import Kind
from baselines.concept_queries import NameQuestion, Question, questions
from baselines.concepts import BETA
from baselines.embedding import Embeddings, describe, embed
from baselines.filters import Filters, masks
from baselines.hits import Hit, find_patch, hit_at, hits_of
from baselines.likeness import LikeQuestion
from baselines.runs import choose_run
from baselines.scanning import Score, scan
from baselines.translation import Request
from baselines.vector_files import VectorFile
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.progress import Progress
from landmark.shards import ShardReader

OpenRun = Callable[[Path, str], LoadedRun]
Mask = NDArray[np.bool_] | None

__all__ = ["Filters", "Hit", "SearchResult", "search", "search_like"]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        text: The query; for a search by image the id of its patch.
        run: The run asked.
        kind: Its kind.
        recipe: How it was trained.
        sensor: `s1`, `s2` or `both`.
        filters: What was looked at.
        gallery: How many patches were ranked.
        understood: The classes read off the text (`not` before excluded ones).
        request: The text in classes, if it was translated.
        like: The patch asked with, in a search by image.
        rows: Best first; ties by patch_id.
    """

    text: str
    run: str
    kind: Kind
    recipe: str
    sensor: str
    filters: Filters
    gallery: int
    understood: tuple[str, ...]
    request: Request | None
    like: Hit | None
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
    filters: Filters = Filters(),  # noqa: B008 (frozen)
    top: int = 10,
    progress: Progress | None = None,
    *,
    understand: bool = True,
    beta: float | None = None,
    open_run: OpenRun = load_run,
) -> SearchResult:
    """Return the patches that fit a text best.

    Patches are embedded at the first search, and those whose pixels are new later.

    Args:
        root: Dataset directory.
        text: What to look for.
        run: Run name; None: `clip`, or the only run.
        filters: Which patches are looked at.
        top: How many hits at most.
        progress: Told of patches embedded.
        understand: Translate the text to classes.
        beta: For runs with class probabilities, from 0 (all of it is there) to 1 (and little
            else); None: the default.
        open_run: Loads a run by root and name.

    Raises:
        InputError: The text holds no word, an option is wrong, the run is missing or cannot
            answer the text, or nothing is left to search in.
        LandmarkError: A file is damaged.
    """
    if not re.search(r"\w", text):
        raise InputError("search text is empty; give words such as 'flooded area next to crops'")
    _check(filters, top, beta)
    loaded = open_run(root, choose_run(root, run))
    if beta is not None and loaded.kind == "embedding":
        raise InputError(
            f"--beta: run {loaded.name!r} (recipe {loaded.config.recipe_name}) has no class "
            "probabilities to weigh; leave it out"
        )
    (question,) = questions(
        loaded, [text], understand=understand, beta=BETA if beta is None else beta
    )
    gallery = _gallery(root, loaded, filters, progress)
    asked = _Asked(text, _understood(question), question.request)
    return _result(root, loaded, filters, gallery, question.scores, top, asked)


def search_like(
    root: Path,
    patch_id: str,
    run: str | None = None,
    filters: Filters = Filters(),  # noqa: B008 (frozen)
    top: int = 10,
    progress: Progress | None = None,
    *,
    open_run: OpenRun = load_run,
) -> SearchResult:
    """Return the patches most like a patch, itself left out; of the other sensor by `filters`.

    Args:
        root: Dataset directory.
        patch_id: A patch of any split.
        run: Run name; None: `clip`, or the only run.
        filters: Which patches are looked at.
        top: How many hits at most.
        progress: Told of patches embedded.
        open_run: Loads a run by root and name.

    Raises:
        InputError: There is no such patch, an option is wrong, the run is missing, or nothing is
            left to search in.
        LandmarkError: A file is damaged.
    """
    _check(filters, top, None)
    dataset = Dataset(root)
    loaded = open_run(root, choose_run(root, run))
    place = find_patch(dataset, patch_id, tuple(loaded.bands))
    with ShardReader(place.shard) as reader:
        described = describe(loaded, place.sensor, reader.image(place.row)[None])[0]
    gallery = _gallery(root, loaded, filters, progress, without=patch_id)
    question = LikeQuestion(described, loaded.kind)
    asked = _Asked(patch_id, like=hit_at(dataset, place, 0, 1.0))
    return _result(root, loaded, filters, gallery, question.scores, top, asked)


@dataclass(frozen=True)
class _Asked:
    """The query, as `SearchResult` tells of it."""

    text: str
    understood: tuple[str, ...] = ()
    request: Request | None = None
    like: Hit | None = None


@dataclass(frozen=True)
class _Gallery:
    """What is ranked.

    Attributes:
        files: Its files of vectors.
        keep: Per file (rows,) which patches count; None: all.
        size: How many patches count.
    """

    files: tuple[Embeddings, ...]
    keep: tuple[Mask, ...]
    size: int


def _check(filters: Filters, top: int, beta: float | None) -> None:
    if top < 1:
        raise InputError(f"--top is {top}; give a number from 1")
    if beta is not None and not 0 <= beta <= 1:
        raise InputError(f"--beta is {beta}; give a number from 0 to 1")
    filters.check()


def _gallery(
    root: Path,
    loaded: LoadedRun,
    filters: Filters,
    progress: Progress | None,
    without: str | None = None,
) -> _Gallery:
    files = [
        file
        for split in filters.splits
        for file in embed(root, loaded, split, filters.sensors, progress)
    ]
    if not files:
        raise InputError(_nothing_to_search(root, loaded, filters))
    with ExitStack() as stack:
        opened = [stack.enter_context(VectorFile(file.path)) for file in files]
        keep = masks(opened, filters)
        if without is not None:
            keep = [_leave_out(*pair, without) for pair in zip(opened, keep, strict=True)]
        size = sum(
            file.rows if mask is None else int(mask.sum())
            for file, mask in zip(opened, keep, strict=True)
        )
    if size == 0:
        raise InputError(f"nothing is left to search in beside {without} itself")
    return _Gallery(tuple(files), tuple(keep), size)


def _leave_out(file: VectorFile, mask: Mask, patch_id: str) -> Mask:
    row = pc.index(file.facts(["patch_id"])["patch_id"], patch_id).as_py()
    if row < 0:
        return mask
    kept = np.ones(file.rows, bool) if mask is None else mask.copy()
    kept[row] = False
    return kept


def _result(
    root: Path,
    loaded: LoadedRun,
    filters: Filters,
    gallery: _Gallery,
    score: Score,
    top: int,
    asked: _Asked,
) -> SearchResult:
    found = scan([file.path for file in gallery.files], score, top, gallery.keep)
    sensors = {file.sensor for file in gallery.files}
    return SearchResult(
        text=asked.text,
        run=loaded.name,
        kind=loaded.kind,
        recipe=loaded.config.recipe_name,
        sensor=sensors.pop() if len(sensors) == 1 else "both",
        filters=filters,
        gallery=gallery.size,
        understood=asked.understood,
        request=asked.request,
        like=asked.like,
        rows=tuple(hits_of(Dataset(root), gallery.files, found)),
    )


def _understood(question: Question) -> tuple[str, ...]:
    if isinstance(question, NameQuestion):
        return (*question.classes, *(f"not {name}" for name in question.absent))
    return question.request.understood if question.request is not None else ()


def _nothing_to_search(root: Path, loaded: LoadedRun, filters: Filters) -> str:
    sensor = filters.sensor
    if sensor is not None and sensor not in loaded.bands:
        return f"{root}: run {loaded.name!r} was not trained on sensor {sensor}; leave --sensor out"
    which = f"{sensor} patches" if sensor is not None else "patches"
    if len(filters.splits) > 1:
        return f"{root}: shards/ hold no {which}; run `landmark harmonize` again"
    return (
        f"{root}: split {filters.split} holds no {which} to search in; give "
        f"splits.{filters.split} a larger share and run `landmark harmonize` again"
    )
