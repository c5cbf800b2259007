"""The loose files of shards/: index, queries, relevance files, card, and the seal over them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harmonize.assembling import remove_others
from harmonize.cards import CardFacts, dataset_card
from harmonize.croissant import croissant_json
from harmonize.gathering import SourceCounts
from harmonize.indexing import index_bytes
from harmonize.licences import summed
from harmonize.published import FILE, TakenOver
from harmonize.queries import Gallery, Query, counts_tsv, make_queries, queries_jsonl
from harmonize.relevance import (
    FILES,
    MOST_LINES,
    Documents,
    count_lines,
    remove_qrels,
    write_qrels,
)
from harmonize.stac_collection import collection_json
from harmonize.statistics import count_index, gallery_of, relevant_counts
from landmark import loose_files
from landmark.dataset import Dataset
from landmark.manifest import Manifest


@dataclass(frozen=True)
class Publication:
    """What is to be published; all else follows from it.

    Attributes:
        manifest: The dataset's manifest.
        sources: Where pixels and labels come from.
        index: `INDEX_SCHEMA`, as it is to be written.
        split_warnings: What splitting warned of.
        kept_whole: Kinds of ties that no two splits share.
        published: An archive's own queries and relevance, or None: queries are made.
    """

    manifest: Manifest
    sources: SourceCounts
    index: pa.Table
    split_warnings: tuple[str, ...]
    kept_whole: tuple[str, ...] = ()
    published: TakenOver | None = None

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """The fixed list of queries."""
        if self.published is not None:
            return self.published.queries
        train = self.index.filter(pc.equal(self.index["split"], "train"))
        return make_queries(
            gallery_of(self.index),
            set(train["label_mask"].to_pylist()),
            self.manifest.queries,
            self.manifest.seed,
        )

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """One line each, on splits and queries."""
        if self.published is not None:
            return (*self.split_warnings, *self.published.warnings)
        if self.queries:
            return self.split_warnings
        least = self.manifest.queries.min_relevant
        return (
            *self.split_warnings,
            f"no class has {least} patches in split corpus, so there are no queries: lower "
            "queries.min_relevant or fetch more",
        )

    @cached_property
    def has_qrels(self) -> bool:
        """Whether relevance files are to be written."""
        if self.published is not None:
            return False
        if self.manifest.queries.qrels == "always":
            return True
        return count_lines(self.queries, gallery_of(self.index)) < MOST_LINES

    @cached_property
    def texts(self) -> dict[str, bytes]:
        """File name in shards/ -> content, of the files small enough to hold."""
        shards = pc.unique(self.index["shard_file"]).to_pylist()
        statistics = count_index(self.index)
        relevant = relevant_counts(self.queries, self.index)
        facts = CardFacts(
            manifest=self.manifest,
            sources=self.sources,
            statistics=statistics,
            queries=self.queries,
            relevant=relevant,
            has_qrels=self.has_qrels,
            example=next((name.removeprefix("shards/") for name in shards if name), ""),
            warnings=self.warnings,
            kept_whole=self.kept_whole,
            terms=summed(self.index),
        )
        files = {
            "index.parquet": index_bytes(self.index),
            "queries.jsonl": queries_jsonl(self.queries).encode(),
            "query_counts.tsv": counts_tsv(self.queries, relevant).encode(),
            "README.md": dataset_card(facts).encode(),
        }
        if self.published is not None:
            files[FILE] = self.published.qrels
        described = {
            "croissant.json": croissant_json(self.manifest, self.index, statistics, files),
            "collection.json": collection_json(self.manifest, self.index, statistics),
        }
        return files | {name: text.encode() for name, text in described.items() if text}

    @property
    def names(self) -> tuple[str, ...]:
        """All files the seal covers, relative to shards/."""
        qrels = tuple(f"qrels/{name}" for name in FILES) if self.has_qrels else ()
        return (*self.texts, *qrels)


def is_published(dataset: Dataset, publication: Publication) -> bool:
    """Return whether shards/ is sealed and holds exactly this publication's files."""
    sealed = loose_files.sealed_files(dataset.shards)
    if sealed is None or set(sealed) != set(publication.names):
        return False
    return all(
        (dataset.shards / name).is_file() and (dataset.shards / name).read_bytes() == data
        for name, data in publication.texts.items()
    )


def unseal(dataset: Dataset) -> None:
    """Mark shards/ as unfinished before anything in it changes."""
    loose_files.remove_seal(dataset.shards)


def publish(dataset: Dataset, publication: Publication, whole: Collection[str]) -> None:
    """Write the loose files, and remove all shards but those that are whole."""
    remove_others(dataset, whole)
    if publication.published is None:
        (dataset.shards / FILE).unlink(missing_ok=True)
    for name, data in publication.texts.items():
        loose_files.write_changed(dataset.shards / name, data)
    if publication.has_qrels:
        write_qrels(dataset.qrels, publication.queries, _documents(publication.index))
    else:
        remove_qrels(dataset.qrels)


def seal(dataset: Dataset, publication: Publication) -> None:
    """Seal the loose files: shards/ is finished."""
    loose_files.write_seal(dataset.shards, publication.names)


def _documents(index: pa.Table) -> Documents:
    corpus = index.filter(pc.equal(index["split"], "corpus")).sort_by("patch_id")
    return Documents(
        corpus["patch_id"].to_pylist(),
        Gallery(
            corpus["label_mask"].to_numpy().astype(np.int64),
            corpus["known_mask"].to_numpy().astype(np.int64),
        ),
    )
