"""Search by image across sensors on a dataset: rank of the twin, the patch of the same place.

    python -m benchmarks.cross_sensor DATASET [--run NAME ...] [--split corpus]

Every patch with a twin (`pair_id`: the other sensor's patch of that place nearest in time) is a
query among all patches of the other sensor. The peer is a random order: mean rank (n + 1) / 2.
Ratios are ours / random: 0.1 is ten times nearer to the top.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baselines.checkpoints import list_runs, load_run
from baselines.documents import Documents, read_documents
from baselines.embedding import align, embed
from baselines.likeness import LikeQuestion
from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    benchmark_parser,
    common_options,
    compare,
    package_versions,
    write_results,
)
from landmark.dataset import Dataset

_TEXT = """
Split `{split}` of the dataset `{name}`: {size} patches, {twins} of them with a twin of the other
sensor. Each is a query among all patches of the other sensor, ranked by what the run says of both
(cosine of vectors, or agreement of class probabilities), ties by patch_id. Patches of the same
place at other dates are in the gallery too and count as wrong. `mean_rank`: smaller is better;
`hit_at_10`: share of queries whose twin is among the first ten, larger is better.
"""


def main() -> None:
    """Rank the twins by every run named and write the results."""
    parser = benchmark_parser(__doc__, runs=1)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--run", action="append", help="run (repeat for several; default: all)")
    parser.add_argument("--split", default="corpus")
    parsed = parser.parse_args()
    documents = read_documents(Dataset(parsed.dataset), parsed.split, ("pair_id",))
    twins = twins_of(documents)
    rows: list[Row] = []
    versions = package_versions("numpy", "torch")
    for run in parsed.run or list_runs(parsed.dataset):
        for case, found, gallery in _ranks(parsed.dataset, run, parsed.split, documents, twins):
            ours = {"mean_rank": found.mean(), "hit_at_10": (found <= 10).mean()}
            random = {"mean_rank": (gallery + 1) / 2, "hit_at_10": min(1, 10 / gallery)}
            for metric in ours:
                measured = {
                    run: [Measurement(1, 1, 1, {metric: float(ours[metric])})],
                    "random": [Measurement(1, 1, 1, {metric: float(random[metric])})],
                }
                rows += compare(
                    "cross_sensor", case, measured, metric,
                    _value(metric), subject=run, versions=versions,
                )  # fmt: skip
    text = _TEXT.format(
        split=parsed.split,
        name=parsed.dataset.name,
        size=len(documents),
        twins=int((twins >= 0).sum()),
    )
    report = Report(
        "cross_sensor",
        "Search by image across sensors",
        rows,
        text=text,
        not_measured=("real patches", "places the model was trained on (the split is held out)"),
    )
    write_results(report, common_options(parsed))


def _value(metric: str) -> Callable[[Measurement], float]:
    return lambda measured: measured.values[metric]


def twins_of(documents: Documents) -> NDArray[np.int64]:
    """Return (n,) the position of each document's twin, -1 where it has none here."""
    places = {name: i for i, name in enumerate(documents.table["patch_id"].to_pylist())}
    return np.array([places.get(twin, -1) for twin in documents.table["pair_id"].to_pylist()])


def twin_ranks(scores: NDArray[np.floating], twins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (q,) the rank, from 1, of each query's twin; ties by position.

    Args:
        scores: (q, n) scores of the gallery, sorted by patch_id.
        twins: (q,) position of the twin in the gallery.
    """
    own = np.take_along_axis(scores, twins[:, None], axis=1)
    before = np.arange(scores.shape[1]) < twins[:, None]
    return 1 + ((scores > own) | ((scores == own) & before)).sum(axis=1)


def _ranks(
    root: Path, run: str, split: str, documents: Documents, twins: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.int64], int]]:
    loaded = load_run(root, run)
    described = align(embed(root, loaded, split), documents)
    found = []
    for own, other in (("s1", "s2"), ("s2", "s1")):
        gallery = np.flatnonzero(documents.sensors == other)
        queries = np.flatnonzero((documents.sensors == own) & (twins >= 0))
        scores = np.stack(
            [LikeQuestion(described[q], loaded.kind).scores(described[gallery]) for q in queries]
        )
        places = np.searchsorted(gallery, twins[queries])
        found.append((f"{own}-to-{other}", twin_ranks(scores, places), len(gallery)))
    return found


if __name__ == "__main__":
    main()
