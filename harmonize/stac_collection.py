"""The corpus as a STAC collection, `shards/collection.json`: what a catalogue lists it by."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from harmonize.extent import extent_of, stamp
from harmonize.licences import strictness, summed
from harmonize.statistics import Statistics
from landmark.manifest import Manifest
from landmark.taxonomy import CLASSES

_PARQUET = "application/vnd.apache.parquet"
#: SPDX identifiers STAC takes as they are; all else is `other`, and named in the text.
_OWN_TERMS = 1
#: (constellation, instrument) per sensor.
_INSTRUMENTS = {"s1": ("sentinel-1", "c-sar"), "s2": ("sentinel-2", "msi")}


def collection_json(manifest: Manifest, index: pa.Table, statistics: Statistics) -> str | None:
    """Return the collection as JSON; None where there is no patch, and so no extent.

    Args:
        manifest: The dataset's manifest.
        index: `INDEX_SCHEMA`.
        statistics: Counts of the index.
    """
    extent = extent_of(index)
    if extent is None:
        return None
    licences, notices = summed(index)
    text = " ".join(manifest.description.split()) or f"Corpus {manifest.name}."
    stated = ", ".join(licences)
    content: dict[str, Any] = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": manifest.name,
        "title": f"{manifest.name}: satellite patches with labels, captions and queries",
        "description": (
            f"{text}\n\nLicences of the sources, the strictest first: {stated}."
            f"\n\nAttribution: {' '.join(notices)}"
        ),
        "keywords": ["earth observation", "text-to-image retrieval", "Sentinel"],
        "license": _stac_licence(list(licences)),
        "providers": [
            {
                "name": "landmark",
                "description": "Put together by `landmark fetch` and `landmark harmonize`.",
                "roles": ["processor"],
            }
        ],
        "extent": {
            "spatial": {"bbox": [list(box) for box in extent.boxes]},
            "temporal": {"interval": [[stamp(extent.start), stamp(extent.end)]]},
        },
        "summaries": _summaries(statistics),
        "assets": _assets(statistics),
        "links": [{"rel": "about", "href": "./README.md", "type": "text/markdown"}],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _stac_licence(licences: list[str]) -> str:
    """Return the one licence of all sources where it is a common one, else `other`."""
    if len(licences) == 1 and strictness(licences[0]) > _OWN_TERMS:
        name = licences[0]
        if not name.startswith("LicenseRef-") and name.replace("-", "").replace(".", "").isalnum():
            return name
    return "other"


def _summaries(statistics: Statistics) -> dict[str, Any]:
    present = [
        name
        for name in CLASSES
        if any(count.present for key, count in statistics.classes.items() if key[2] == name)
    ]
    return {
        "constellation": [_INSTRUMENTS[sensor][0] for sensor in statistics.sensors],
        "instruments": [_INSTRUMENTS[sensor][1] for sensor in statistics.sensors],
        "gsd": {"minimum": 10, "maximum": 60 if "s2" in statistics.sensors else 10},
        "landmark:classes": present,
        "landmark:patches": {
            f"{sensor}/{split}": count for (sensor, split), count in statistics.patches.items()
        },
    }


def _assets(statistics: Statistics) -> dict[str, Any]:
    assets = {
        "index": ("./index.parquet", _PARQUET, "Every patch: split, labels, place, licences"),
        "queries": ("./queries.jsonl", "application/x-ndjson", "Text queries"),
        "query_counts": ("./query_counts.tsv", "text/tab-separated-values", "Relevant patches"),
        "croissant": ("./croissant.json", "application/ld+json", "Croissant description"),
    }
    result = {
        key: {"href": href, "type": kind, "title": title, "roles": ["metadata"]}
        for key, (href, kind, title) in assets.items()
    }
    for sensor in statistics.sensors:
        result[sensor] = {
            "href": f"./{sensor}/",
            "title": f"Parquet files of {_INSTRUMENTS[sensor][0]} patches, by split",
            "roles": ["data"],
        }
    return result
