"""Queries and relevance that an archive publishes, taken over onto the dataset's patches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harmonize.queries import Query
from harmonize.shipping import published_keys
from landmark.archives.containers import open_container
from landmark.archives.published import Published, read_published
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest import Manifest
from landmark.sources import open_roots
from landmark.taxonomy import CLASSES

#: The relevance file, below shards/: TREC columns, grades as published (0 too).
FILE = "qrels/published.tsv"
KIND = "published"
_LOWER = {name.lower(): name for name in CLASSES}


@dataclass(frozen=True)
class TakenOver:
    """What was taken over.

    Attributes:
        queries: Of kind `published`; `classes` are those the text names, as far as it does.
        qrels: Content of `FILE`.
        warnings: One line each.
    """

    queries: tuple[Query, ...]
    qrels: bytes
    warnings: tuple[str, ...]


def take_over(dataset: Dataset, manifest: Manifest, index: pa.Table) -> TakenOver:
    """Return an archive's queries and relevance on the patches of an index.

    Args:
        dataset: The dataset; its plan says which key became which patch.
        manifest: Names the archive.
        index: The patches there are.

    Raises:
        InputError: No archive of the manifest publishes queries, or its files are damaged.
    """
    published = _read(dataset, manifest)
    there = set(index["patch_id"].to_pylist())
    patches = {key: name for key, name in published_keys(dataset).items() if name in there}
    lines, lost = [], 0
    for query, _ in published.queries:
        judged = published.grades[query]
        lost += sum(key not in patches for key in judged)
        rows = sorted((patches[key], grade) for key, grade in judged.items() if key in patches)
        lines += [f"{query}\t0\t{name}\t{grade}\n" for name, grade in rows]
    warnings = []
    if lost:
        warnings.append(f"{lost} published judgements are of images this dataset does not hold")
    queries = tuple(_query(name, text) for name, text in published.queries)
    return TakenOver(queries, "".join(lines).encode(), tuple(warnings))


def classes_in(text: str) -> tuple[str, ...]:
    """Return the classes a text in caption style names, in its order; () if a part is no class.

    >>> classes_in("water. trees")
    ('Water', 'Trees')
    """
    parts = [part.strip().lower() for part in re.split(r"[.]", text) if part.strip()]
    if not parts or any(part not in _LOWER for part in parts):
        return ()
    return tuple(dict.fromkeys(_LOWER[part] for part in parts))


def _query(name: str, text: str) -> Query:
    return Query(id=name, text=text, kind=KIND, classes=classes_in(text))


def _read(dataset: Dataset, manifest: Manifest) -> Published:
    roots = open_roots(manifest, dataset)
    for sensor, catalog in manifest.catalogs().items():
        for name, settings in catalog.members().items():
            if settings.format == "crisislandmark":
                location = dict(roots.root(sensor).members)[name]
                return read_published(open_container(Path(location)))
    raise InputError(
        f"{dataset.manifest}: queries.source is published, but no archive of the catalog "
        "publishes queries (format crisislandmark does)"
    )
