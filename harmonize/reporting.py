"""The harmonize part of `landmark report`: splits, classes, queries, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harmonize.charts import class_histogram
from harmonize.hashing import draws
from harmonize.queries import Query
from harmonize.statistics import Statistics, count_index, relevant_counts
from landmark.dataset import SPLITS, Dataset
from landmark.pages import Block, Card, Cards, Facts, Figure, Paragraph, Section, Table
from landmark.pictures import picture_of, png_bytes
from landmark.shards import ShardReader
from landmark.taxonomy import CLASSES

#: Patches on the contact sheet per sensor.
SHEET = 15
_SENSOR_NAMES = {"s1": "Sentinel-1", "s2": "Sentinel-2"}


def sections(root: Path) -> tuple[Section, ...]:
    """Return the sections of a dataset: labels and splits, queries, contact sheets.

    Where harmonize has not run yet, one section says so.
    """
    dataset = Dataset(root)
    if not dataset.index.exists():
        missing = Paragraph("There are no labels yet: run `landmark harmonize` first.")
        return (Section("Labels", (missing,)),)
    index = pq.read_table(dataset.index)
    statistics = count_index(index)
    return (
        _label_section(statistics, index.num_rows),
        _query_section(_read_queries(dataset), index, statistics),
        *(_sheet_section(dataset, index, sensor) for sensor in statistics.sensors),
    )


def _label_section(statistics: Statistics, patches: int) -> Section:
    blocks: list[Block] = [_split_table(statistics)]
    dropped = ", ".join(f"{count} by {reason}" for reason, count in statistics.dropped.items())
    blocks.append(
        Facts(
            (
                ("Patches", str(patches)),
                ("With at least one class decided", str(statistics.labelled)),
                ("In no split", dropped or "none"),
            )
        )
    )
    if statistics.sensors:
        blocks.append(
            Figure(
                class_histogram(statistics),
                alt="Prevalence of the twelve classes per split, one panel per sensor",
                caption=(
                    "How often each class occurs, by split. A bar is the share of the patches in "
                    "which the class was decided, the number beside it the patches that carry it; "
                    "a dash: decided nowhere."
                ),
            )
        )
    return Section("Labels and splits", tuple(blocks))


def _split_table(statistics: Statistics) -> Table:
    rows: list[tuple[str | int, ...]] = []
    for sensor in statistics.sensors:
        counts = list(statistics.by_split(sensor).values())
        rows.append((_SENSOR_NAMES[sensor], *counts, sum(counts)))
    return Table(("sensor", *SPLITS, "all"), tuple(rows), caption="Patches by split")


def _query_section(queries: Sequence[Query], index: pa.Table, statistics: Statistics) -> Section:
    if not queries:
        nothing = Paragraph("There are no queries: no class has enough patches in the gallery.")
        return Section("Queries", (nothing,))
    relevant = relevant_counts(queries, index)
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (
            query.kind.replace("_", " "),
            query.text,
            ", ".join((*query.classes, *(f"not {name}" for name in query.absent))),
            *(relevant[query.id][sensor] for sensor in statistics.sensors),
        )
        for query in queries
    )
    columns = ("kind", "text", "asks for", *(f"relevant {s}" for s in statistics.sensors))
    text = Paragraph(
        f"{len(queries)} queries, fixed before training. Relevant: patches of the gallery (split "
        "corpus) that carry every class asked for and none of the negated ones."
    )
    return Section("Queries", (text, Table(columns, rows)))


def _sheet_section(dataset: Dataset, index: pa.Table, sensor: str) -> Section:
    rows = choose_patches(index, sensor, SHEET)
    cards = []
    for row in rows:
        fact = index.slice(row, 1).to_pylist()[0]
        cards.append(_card(dataset, fact))
    title = f"Contact sheet, {_SENSOR_NAMES[sensor]}"
    return Section(title, (Cards(tuple(cards)),))


def _card(dataset: Dataset, fact: dict[str, Any]) -> Card:
    place, row = fact["patch_file"], fact["patch_row"]
    if not (dataset.root / place).exists():
        # A portable copy may hold shards/ alone.
        place, row = fact["shard_file"], fact["shard_row"]
    with ShardReader(dataset.root / place) as reader:
        picture = picture_of(reader.image(row), reader.layout)
    return Card(
        png_bytes(picture),
        alt=fact["caption_long"],
        title=fact["caption"] or ("no class present" if fact["known_mask"] else "nothing known"),
        lines=(fact["caption_long"], f"{fact['split']} · {fact['patch_id']}"),
    )


def choose_patches(index: pa.Table, sensor: str, count: int) -> list[int]:
    """Return index rows of a sensor that together show as many classes as can be.

    Rarest class first, each shown by the patch that adds most classes not shown yet; what room
    is left is filled by a draw. Equal indexes give equal choices.
    """
    sensors = np.array(index["sensor"].to_pylist(), dtype=np.str_)
    kept = np.array([bool(split) for split in index["split"].to_pylist()], dtype=bool)
    rows = np.flatnonzero((sensors == sensor) & kept)
    masks = index["label_mask"].to_numpy().astype(np.int64)[rows]
    ids = index["patch_id"].take(pa.array(rows)).to_pylist()
    order = np.argsort(draws(ids, 0, "contact-sheet"), kind="stable")
    rows, masks = rows[order], masks[order]
    chosen: list[int] = []
    shown = 0
    totals = [int((masks >> bit & 1).sum()) for bit in range(len(CLASSES))]
    for bit in sorted(range(len(CLASSES)), key=lambda b: (totals[b], b)):
        if totals[bit] and not shown >> bit & 1 and len(chosen) < count:
            gain = np.bitwise_count(masks & ~shown) * ((masks >> bit) & 1)
            best = int(np.argmax(gain))
            chosen.append(best)
            shown |= int(masks[best])
    rest = [place for place in range(rows.size) if place not in chosen]
    chosen += rest[: count - len(chosen)]
    return [int(rows[place]) for place in chosen]


def _read_queries(dataset: Dataset) -> list[Query]:
    queries = []
    for line in dataset.queries.read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)
        raw["classes"], raw["absent"] = tuple(raw["classes"]), tuple(raw["absent"])
        queries.append(Query(**raw))
    return queries
