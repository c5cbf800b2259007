"""The dataset card, `shards/README.md`: what a stranger needs to know before using a dataset.

The YAML header is the Hugging Face hub's, so that `datasets.load_dataset(FOLDER, "s1")` finds the
splits. A pure function of manifest, index and queries: no dates of today, hosts or local paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from harmonize.gathering import SourceCounts
from harmonize.queries import Query
from harmonize.statistics import Statistics
from landmark.dataset import SPLITS
from landmark.manifest import Manifest
from landmark.taxonomy import CLASSES

#: Licence identifiers the hub knows and that occur with such data.
_HUB_LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"),
        *("cc-by-sa-3.0", "cc-by-3.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "odbl"),
    }
)
_SENSOR_NAMES = {"s1": "Sentinel-1", "s2": "Sentinel-2"}
_TIES = {"pair": "S1-S2 pair", "event": "event", "scene": "scene", "datatake": "datatake"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        manifest: The dataset's manifest.
        sources: Sources, as the patches and labels name them.
        statistics: Counts of the index.
        queries: All queries.
        relevant: Query id -> sensor -> relevant corpus patches.
        has_qrels: Whether relevance files were written.
        example: A shard, relative to shards/; "" where shards were not written.
        warnings: What splitting warned of.
        kept_whole: Kinds of ties that no two splits share.
        terms: Licence -> patches, the strictest first; and all attributions.
    """

    manifest: Manifest
    sources: SourceCounts
    statistics: Statistics
    queries: Sequence[Query]
    relevant: dict[str, dict[str, int]]
    has_qrels: bool
    example: str
    warnings: tuple[str, ...]
    kept_whole: tuple[str, ...] = ()
    terms: tuple[dict[str, int], tuple[str, ...]] = ({}, ())

    @property
    def synthetic(self) -> bool:
        """Whether any pixel comes from the embedded sandbox."""
        return any(c.kind == "sandbox" for c in self.manifest.catalogs().values())


def dataset_card(facts: CardFacts) -> str:
    """Return the card: YAML header and Markdown."""
    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True)
    parts = (
        _opening(facts),
        _contents(facts),
        _labels(facts),
        _splits(facts),
        _queries(facts),
        _sources(facts),
        _limits(facts),
    )
    return f"---\n{header}---\n\n" + "\n\n".join(parts) + "\n"


def _header(facts: CardFacts) -> dict[str, Any]:
    total = sum(facts.statistics.patches.values())
    size = next((name for most, name in _SIZES if total < most), "1M<n<10M")
    header: dict[str, Any] = {
        "pretty_name": facts.manifest.name,
        "license": _hub_licences(facts),
        "language": ["en"],
        "task_categories": ["image-classification", "zero-shot-image-classification"],
        "tags": [
            *("earth-observation", "remote-sensing", "text-to-image-retrieval"),
            *(_SENSOR_NAMES[sensor].lower() for sensor in facts.statistics.sensors),
            *(["synthetic"] if facts.synthetic else []),
        ],
        "size_categories": [size],
    }
    if facts.example:
        header["configs"] = [
            {
                "config_name": sensor,
                "data_files": [
                    {"split": split, "path": f"{sensor}/{split}-*.parquet"}
                    for split in SPLITS
                    if facts.statistics.patches[sensor, split]
                ],
            }
            for sensor in facts.statistics.sensors
        ]
    return header


def _hub_licences(facts: CardFacts) -> list[str]:
    # The strictest first, as they were summed.
    names = [name.lower() for name in facts.terms[0]]
    known = [name if name in _HUB_LICENCES else "other" for name in names]
    return list(dict.fromkeys(known)) or ["other"]


def _opening(facts: CardFacts) -> str:
    lines = [f"# {facts.manifest.name}"]
    if facts.synthetic:
        lines.append(
            "**Synthetic data.** Pixels, labels and events were drawn by the embedded sandbox of "
            "landmark. They serve to try the tools; nothing about the Earth follows from them."
        )
    if facts.manifest.description:
        lines.append(" ".join(facts.manifest.description.split()))
    lines.append(
        "Satellite patches of 1.2 km x 1.2 km (120 x 120 px at 10 m) with land-cover and crisis "
        "labels, captions, and text queries with relevance, made by "
        f"`landmark fetch` and `landmark harmonize` (seed {facts.manifest.seed})."
    )
    return "\n\n".join(lines)


def _contents(facts: CardFacts) -> str:
    statistics = facts.statistics
    table = _table(
        ("sensor", *SPLITS, "all"),
        [
            (
                _SENSOR_NAMES[sensor],
                *statistics.by_split(sensor).values(),
                sum(statistics.by_split(sensor).values()),
            )
            for sensor in statistics.sensors
        ],
    )
    text = ["## Contents", f"Patches by sensor and split:\n\n{table}"]
    if facts.example:
        text.append(
            "Parquet files `<sensor>/<split>-*.parquet`; `image` is one compressed frame per "
            "patch:\n\n```python\nimport pyarrow.parquet as pq\n"
            "from landmark.shards import decode_image\n\n"
            f'table = pq.read_table("{facts.example}")\n'
            'image = decode_image(table["image"][0].as_py(), table.schema)  # (bands, 120, 120)\n'
            "```\n\nSentinel-2 is reflectance x 10000 (uint16, offset removed, 0 = no data), "
            "Sentinel-1 is dB (float32, NaN = no data). `index.parquet` lists all patches, the "
            "dropped ones and their reason too."
        )
    else:
        text.append(
            "`index.parquet` lists all patches and where their images lie (`patch_file`, "
            "`patch_row`); shards were not written (`--labels-only`)."
        )
    return "\n\n".join(text)


def _labels(facts: CardFacts) -> str:
    statistics = facts.statistics
    columns = [(sensor, split) for sensor in statistics.sensors for split in SPLITS]
    rows = []
    for name in CLASSES:
        cells = []
        for sensor, split in columns:
            count = statistics.classes[sensor, split, name]
            share = count.prevalence
            cells.append("-" if share is None else f"{share:.1%} ({count.present})")
        rows.append((name, *cells))
    table = _table(("class", *(f"{sensor} {split}" for sensor, split in columns)), rows)
    rules = facts.manifest.label_rules
    return (
        "## Labels\n\nShare of patches that carry a class among those where its presence was "
        f"decided, and their number (`-`: decided nowhere):\n\n{table}\n\n"
        "`label_mask` has a bit per class present, `known_mask` a bit per class decided: unknown "
        "is not absent. A land-cover source decides where it covers at least "
        f"{rules.min_covered:.0%} of a patch; a crisis class is present from "
        f"{rules.event_share:.1%} of the patch or {rules.event_hectares:g} ha on; where no event "
        f"was analysed the crisis classes are {rules.outside_events}."
    )


def _splits(facts: CardFacts) -> str:
    rules = facts.manifest.splits
    shares = f"train {rules.train:g}, val {rules.val:g}, corpus {rules.corpus:g}"
    if rules.method == "random":
        text = (
            f"Patches at random ({shares}). **This split leaks**: neighbouring patches, other "
            "dates of the same ground and S1-S2 partners fall into different splits, so scores "
            "on it flatter a model."
        )
    elif rules.method == "source":
        text = (
            "The splits the archives publish (train, validation as val, test as corpus); whether "
            "neighbouring ground falls into different ones is the archives' doing."
        )
    else:
        kept = [f"{_TIES[kind]}s" for kind in facts.kept_whole]
        whole = f" No two splits share any {', '.join(kept)}." if kept else ""
        text = (
            f"Spatial blocks of {rules.block_km:g} km, whole for both sensors and all dates, dealt "
            f"by iterative stratification over the labels ({shares}).{whole} {_gap(facts)} "
            "`landmark check` audits all this."
        )
    warnings = "".join(f"\n- {warning}" for warning in facts.warnings)
    return f"## Splits\n\n{text} `corpus` is the gallery that is searched." + (
        f"\n\nTo be aware of:\n{warnings}" if warnings else ""
    )


def _gap(facts: CardFacts) -> str:
    cells = facts.manifest.splits.buffer_cells
    dropped = facts.statistics.dropped.get("buffer", 0)
    if not cells:
        return (
            "No gap is kept between splits: only patches that overlap one of another split are "
            f"in no split ({dropped} dropped)."
        )
    return (
        f"Between splits a gap of {cells} cell{'s' if cells != 1 else ''} of 1.2 km is kept free: "
        f"patches there are in no split ({dropped} dropped)."
    )


def _queries(facts: CardFacts) -> str:
    kinds = Counter(query.kind for query in facts.queries)
    sensors = facts.statistics.sensors
    rows = []
    for kind, count in kinds.items():
        ids = [query.id for query in facts.queries if query.kind == kind]
        spans = []
        for sensor in sensors:
            found = [facts.relevant[i][sensor] for i in ids]
            spans.append(f"{min(found)} to {max(found)}")
        rows.append((kind.replace("_", " "), count, *spans))
    table = _table(("kind", "queries", *(f"relevant in {s}" for s in sensors)), rows)
    qrels = (
        "`qrels/binary.tsv` and `qrels/graded.tsv` state the same in TREC form."
        if facts.has_qrels
        else "Relevance files were left out for their size: relevance follows from the masks."
    )
    if facts.manifest.queries.source == "published":
        return (
            f"## Queries\n\n`queries.jsonl`, taken over as the archive publishes them:\n\n{table}"
            "\n\n`qrels/published.tsv` holds the archive's own relevance in TREC form; what it "
            "does not judge is not relevant. The table counts patches that carry the classes a "
            "query names."
        )
    return (
        f"## Queries\n\n`queries.jsonl`, fixed before any training:\n\n{table}\n\n"
        "A patch is relevant if it carries every class of the query and none of its negated ones; "
        "graded relevance is the Jaccard index of the two class sets (x 100). Unknown counts as "
        f"not relevant. {qrels}"
    )


def _sources(facts: CardFacts) -> str:
    pixels = _table(
        ("sensor", "provider", "collection", "licence", "patches"),
        [
            (s.sensor, s.provider or "-", s.collection or "-", s.licence or "not stated", count)
            for s, count in facts.sources.pixels.items()
        ],
    )
    labels = _table(
        ("label source", "version", "crosswalk", "sha256", "patches"),
        [
            (s.source or "-", s.version or "-", s.crosswalk or "-", s.sha256[:12] or "-", count)
            for s, count in facts.sources.labels.items()
        ],
    )
    lines = ["## Sources", pixels, labels, _recipe(facts.manifest)]
    return "\n\n".join([*lines, *_terms(facts)])


def _terms(facts: CardFacts) -> list[str]:
    licences, notices = facts.terms
    if not licences:
        return []
    rows = list(licences.items())
    table = _table(("licence", "patches"), rows)
    return [
        f"Licences of pixels and labels, the strictest first (it is **{rows[0][0]}**); each row of "
        f"`index.parquet` carries its own in `licences` and `attributions`:\n\n{table}",
        "Attribution: " + " ".join(notices),
    ]


def _recipe(manifest: Manifest) -> str:
    """Return how it was asked for, without local paths or anything secret."""
    rows: list[tuple[str, object]] = [("grid", manifest.grid)]
    for sensor, catalog in manifest.catalogs().items():
        archives = [f"{one.format} ({_public(one.href)})" for one in catalog.archives]
        where = ", ".join(archives) or _public(catalog.href)
        rows.append((f"{sensor} catalog", f"{catalog.kind} {where}".strip()))
    if manifest.area is not None:
        region = manifest.area.bbox or _public(manifest.area.file)
        rows.append(("area", ", ".join(map(str, region)) if isinstance(region, tuple) else region))
    if manifest.time is not None:
        rows.append(("time", f"{manifest.time.start} to {manifest.time.end}"))
    for source in manifest.labels:
        names = ", ".join(_public(raster) for raster in source.rasters)
        rows.append((f"labels: {source.kind}", names or "shipped with each patch"))
    rows += [(f"events: {event.type}", _public(event.file)) for event in manifest.events]
    return "Asked for:\n\n" + _table(("what", "value"), rows)


def _public(href: str | None) -> str:
    """Return what a card may show of a path or URL: no folders, no credentials."""
    if href is None:
        return ""
    if "://" not in href:
        return PurePosixPath(href.removeprefix("sandbox:")).name
    parts = urlsplit(href)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"


def _limits(facts: CardFacts) -> str:
    lines = [
        "Captions name classes and rough extents; they say nothing of position or number.",
        "S1-S2 partners differ in time by up to "
        f"{facts.manifest.pairing.max_gap_hours:g} h (`pair_gap_s`).",
    ]
    if facts.synthetic:
        lines.insert(0, "Synthetic pixels and labels: scores say nothing about real imagery.")
    else:
        lines = [
            "Labels are as good as their maps: CORINE has a smallest unit of 25 ha and a fixed "
            "year, automatic 10 m maps err where classes look alike, event polygons differ by "
            "analyst.",
            "Land cover and acquisition may be years apart.",
            *lines,
        ]
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)])
