"""Reading the small columns of patches/ and labels/, never an image: one table for all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harmonize.captions import Event, PatchFacts, rendered
from harmonize.licences import SourceTerms, columns_of
from harmonize.text_codes import coded_schema, distinct
from harmonize.ties import passes
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.grid import SIZE_M
from landmark.label_settings import CaptionRules

_PATCH_COLUMNS = (
    "patch_id",
    "sensor",
    "platform",
    "relative_orbit",
    "mgrs",
    "datetime",
    "lon",
    "lat",
    "epsg",
    "transform",
    "pair_id",
    "provenance",
)
_LABEL_COLUMNS = ("patch_id", "label_mask", "known_mask", "fractions", "events", "label_sources")

#: What is known of each patch before splits are decided.
GATHERED_SCHEMA = pa.schema(
    [
        pa.field("patch_id", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("patch_file", pa.string(), nullable=False),
        pa.field("patch_row", pa.int32(), nullable=False),
        pa.field("label_mask", pa.uint16(), nullable=False),
        pa.field("known_mask", pa.uint16(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("caption_long", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("epsg", pa.int32(), nullable=False),
        pa.field("x_min", pa.float64(), nullable=False),
        pa.field("y_max", pa.float64(), nullable=False),
        pa.field("pair_id", pa.string()),
        pa.field("partner_id", pa.string()),
        pa.field("scene", pa.string()),
        pa.field("datatake", pa.string(), nullable=False),
        pa.field("event_ids", pa.list_(pa.string()), nullable=False),
        pa.field("licences", pa.list_(pa.string()), nullable=False),
        pa.field("attributions", pa.list_(pa.string()), nullable=False),
    ]
)


@dataclass(frozen=True)
class PixelSource:
    """Where pixels come from, as their provenance says."""

    sensor: str
    provider: str
    collection: str
    licence: str


@dataclass(frozen=True)
class MaskSource:
    """Where labels come from, as the labels say."""

    source: str
    version: str
    crosswalk: str
    sha256: str


@dataclass(frozen=True)
class SourceCounts:
    """Where the patches of a dataset and their labels come from.

    Attributes:
        pixels: Pixel source -> patches.
        labels: Label source -> patches.
        years: Years of acquisition, ascending.
    """

    pixels: dict[PixelSource, int]
    labels: dict[MaskSource, int]
    years: tuple[int, ...]


@dataclass(frozen=True)
class Gathered:
    """All patches of a dataset with their labels.

    Attributes:
        table: `GATHERED_SCHEMA` with coded texts, in the order of the patch shards.
        sources: Where they come from; small, while the table is not.
    """

    table: pa.Table
    sources: SourceCounts


def gather(
    dataset: Dataset,
    shards: Sequence[str],
    *,
    captions: CaptionRules | None = None,
    terms: SourceTerms | None = None,
    priors: Collection[str] = (),
) -> Gathered:
    """Read the small columns of some patch shards and of their labels.

    Args:
        dataset: The dataset.
        shards: Names of the patch shards.
        captions: How captions are worded; None: as by default.
        terms: Licences and attributions of the sources; None: the producers' own.
        priors: Sources of events that decide nothing and so tie no patches together.

    Raises:
        LandmarkError: A labels file does not hold the patches of its shard.
    """
    tables: list[pa.Table] = []
    pixels: Counter[PixelSource] = Counter()
    labels: Counter[MaskSource] = Counter()
    for shard in shards:
        patches = _read(dataset.patch_shard(shard), _PATCH_COLUMNS)
        masks = _read(dataset.label_shard(shard), _LABEL_COLUMNS)
        if patches["patch_id"].to_pylist() != masks["patch_id"].to_pylist():
            raise LandmarkError(
                f"{dataset.label_shard(shard)}: does not hold the patches of "
                f"{dataset.patch_shard(shard).name}; remove it and run `landmark harmonize` again"
            )
        how = captions or CaptionRules()
        rows = _join(shard, patches, masks, how, terms or SourceTerms(), priors)
        tables.append(rows.cast(coded_schema(GATHERED_SCHEMA)))
        pixels.update(_pixel_sources(patches))
        labels.update(_mask_sources(masks))
    table = pa.concat_tables([coded_schema(GATHERED_SCHEMA).empty_table(), *tables])
    tables.clear()  # else every row is held twice
    table = _with_passes(table.unify_dictionaries().combine_chunks())
    sources = SourceCounts(
        pixels=dict(sorted(pixels.items(), key=lambda item: repr(item[0]))),
        labels=dict(sorted(labels.items(), key=lambda item: repr(item[0]))),
        years=tuple(sorted(pc.unique(pc.year(table["datetime"])).to_pylist())),
    )
    return Gathered(table, sources)


def centres(table: pa.Table) -> tuple[Any, Any]:
    """Return the centres of frames, x and y in their CRS, m, float64 arrays."""
    return (
        table["x_min"].to_numpy() + SIZE_M / 2,
        table["y_max"].to_numpy() - SIZE_M / 2,
    )


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise LandmarkError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); remove it and its mark and "
            "run again"
        ) from None


def _join(
    shard: str,
    patches: pa.Table,
    masks: pa.Table,
    captions: CaptionRules,
    terms: SourceTerms,
    priors: Collection[str],
) -> pa.Table:
    """Return the rows of one shard in `GATHERED_SCHEMA`."""
    texts = [rendered(fact, captions) for fact in patch_facts(patches, masks)]
    corner = pc.list_flatten(patches["transform"]).to_numpy().reshape(-1, 6)
    columns = {
        **{name: patches[name] for name in _PATCH_COLUMNS if name in GATHERED_SCHEMA.names},
        "patch_file": [f"patches/{shard}.parquet"] * patches.num_rows,
        "patch_row": range(patches.num_rows),
        "label_mask": masks["label_mask"],
        "known_mask": masks["known_mask"],
        "caption": [short for short, _ in texts],
        "caption_long": [long for _, long in texts],
        "partner_id": patches["pair_id"],
        "scene": _scenes(patches),
        "datatake": [
            f"{platform or ''}|{'' if orbit is None else orbit}"
            for platform, orbit in zip(
                patches["platform"].to_pylist(), patches["relative_orbit"].to_pylist(), strict=True
            )
        ],
        "event_ids": [
            sorted({f"{e['type']}:{e['id']}" for e in events if e["source"] not in priors})
            for events in masks["events"].to_pylist()
        ],
        **columns_of(patches, masks, terms),
        "x_min": corner[:, 2],
        "y_max": corner[:, 5],
    }
    # The files' own schema metadata must not travel on into the index.
    return pa.table(
        {
            field.name: pa.array(columns[field.name], field.type)
            if not isinstance(columns[field.name], pa.ChunkedArray)
            else columns[field.name].cast(field.type)
            for field in GATHERED_SCHEMA
        },
        schema=GATHERED_SCHEMA,
    )


def _with_passes(table: pa.Table) -> pa.Table:
    """Replace the parts of each pass, as `_join` left them, by its name."""
    kinds, kind_of = distinct(table["datatake"])
    parts = [value.split("|") for value in kinds]
    platforms = [platform or None for platform, _ in parts]
    orbits = np.array([float(orbit or "nan") for _, orbit in parts])
    names = passes(
        [platforms[kind] for kind in kind_of.tolist()],
        orbits[kind_of],
        table["datetime"].to_numpy().astype("datetime64[us]"),
    )
    place = table.schema.get_field_index("datatake")
    field = table.schema.field("datatake")
    return table.set_column(place, field, pa.array(names, pa.string()).cast(field.type))


def _scenes(patches: pa.Table) -> list[str | None]:
    """Return the scene of each patch: its item, or the tile and second where items are patches."""
    scenes = []
    for patch_id, platform, tile, time, record in zip(
        *(patches[name].to_pylist() for name in ("patch_id", "platform", "mgrs", "datetime")),
        patches["provenance"].to_pylist(),
        strict=True,
    ):
        item = (record or {}).get("item")
        if item and patch_id.startswith(item):
            item = f"{platform or 'unknown'}_{tile or ''}_{time:%Y%m%dT%H%M%S}"
        scenes.append(item or None)
    return scenes


def patch_facts(patches: pa.Table, masks: pa.Table) -> list[PatchFacts]:
    """Return what the captions of patches are made of.

    Args:
        patches: Columns sensor, datetime and lat.
        masks: Columns label_mask, known_mask, fractions and events, row for row.
    """
    rows = zip(
        patches["sensor"].to_pylist(),
        patches["datetime"].to_pylist(),
        masks["label_mask"].to_pylist(),
        masks["known_mask"].to_pylist(),
        masks["fractions"].to_pylist(),
        masks["events"].to_pylist(),
        patches["lat"].to_pylist(),
        strict=True,
    )
    return [
        PatchFacts(
            sensor,
            time,
            label,
            known,
            fractions,
            tuple(Event(e["type"], e["phase"], e["fraction"] or 0.0, e["days"]) for e in events),
            lat,
        )
        for sensor, time, label, known, fractions, events, lat in rows
    ]


def _pixel_sources(patches: pa.Table) -> Counter[PixelSource]:
    records = zip(patches["sensor"].to_pylist(), patches["provenance"].to_pylist(), strict=True)
    return Counter(
        PixelSource(
            sensor,
            *((record or {}).get(key) or "" for key in ("provider", "collection", "licence")),
        )
        for sensor, record in records
    )


def _mask_sources(masks: pa.Table) -> Counter[MaskSource]:
    keys = ("source", "version", "crosswalk", "crosswalk_sha256")
    return Counter(
        MaskSource(*(record[key] or "" for key in keys))
        for records in masks["label_sources"].to_pylist()
        for record in records
    )
