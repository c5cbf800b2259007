"""The Croissant description, `shards/croissant.json`, with the fields of GeoCroissant.

Croissant 1.1 (http://mlcommons.org/croissant/1.1) and GeoCroissant 1.0
(http://mlcommons.org/croissant/geo/1.0). A pure function of manifest and index: no date of today,
so `datePublished` is the day of the last acquisition, the earliest the corpus can be from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harmonize.extent import Extent, extent_of, stamp
from harmonize.licences import summed
from harmonize.statistics import Statistics
from landmark.manifest import S1_BANDS, S2_BANDS, Manifest, Splits

_CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"]
_PARQUET = "application/x-parquet"
_SENSORS = {"s1": "Sentinel-1", "s2": "Sentinel-2"}
#: Centre wavelengths of Sentinel-2A, nm (ESA, Sentinel-2 spectral response functions).
_WAVELENGTHS = dict(
    zip(S2_BANDS, (443, 492, 560, 665, 704, 741, 783, 833, 865, 945, 1614, 2202), strict=True)
)
#: Column -> (Croissant type, description, whether it is a list).
_INDEX_FIELDS: dict[str, tuple[str, str, bool]] = {
    "patch_id": ("sc:Text", "Stable name of the patch.", False),
    "sensor": ("sc:Text", "s1 or s2.", False),
    "split": ("sc:Text", "train, val or corpus; empty: in none.", False),
    "caption": ("sc:Text", "Labels joined by a full stop.", False),
    "caption_long": ("sc:Text", "One sentence.", False),
    "label_mask": ("sc:Integer", "A bit per class present, Water first.", False),
    "known_mask": ("sc:Integer", "A bit per class whose presence was decided.", False),
    "datetime": ("sc:DateTime", "Acquisition, UTC.", False),
    "lon": ("sc:Float", "Longitude of the centre, degrees (OGC:CRS84).", False),
    "lat": ("sc:Float", "Latitude of the centre, degrees (OGC:CRS84).", False),
    "epsg": ("sc:Integer", "EPSG code of the patch's UTM frame.", False),
    "scene": ("sc:Text", "Scene the patch was cut from.", False),
    "datatake": ("sc:Text", "Pass of the satellite.", False),
    "licences": ("sc:Text", "Licences of the patch's sources, the strictest first.", True),
    "attributions": ("sc:Text", "Sentences that name the patch's sources.", True),
}
_MEDIA = {
    "index.parquet": _PARQUET,
    "queries.jsonl": "application/jsonlines",
    "query_counts.tsv": "text/tab-separated-values",
    "qrels/published.tsv": "text/tab-separated-values",
    "README.md": "text/markdown",
}


def croissant_json(
    manifest: Manifest, index: pa.Table, statistics: Statistics, files: Mapping[str, bytes]
) -> str | None:
    """Return the description as JSON-LD; None where there is no patch, and so no extent.

    Args:
        manifest: The dataset's manifest.
        index: `INDEX_SCHEMA`.
        statistics: Counts of the index.
        files: Name in shards/ -> content, of the files listed with their checksum.
    """
    extent = extent_of(index)
    if extent is None:
        return None
    licences, notices = summed(index)
    whole = any(pc.unique(index["shard_file"]).to_pylist())
    content: dict[str, Any] = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "@id": manifest.name,
        "name": manifest.name,
        "description": " ".join(manifest.description.split()) or f"Corpus {manifest.name}.",
        "conformsTo": _CONFORMS,
        "license": list(licences),
        "creditText": " ".join(notices),
        "citeAs": f"Corpus {manifest.name}, made with landmark. {' '.join(notices)}",
        "url": "./README.md",
        "version": "1.0.0",
        "datePublished": extent.end.date().isoformat(),
        "keywords": ["earth observation", "Sentinel", "text-to-image retrieval", "GeoAI"],
        **_geo(manifest, extent, statistics),
        "distribution": [*_files(files), *(_shards(statistics) if whole else [])],
        "recordSet": [_records()],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _geo(manifest: Manifest, extent: Extent, statistics: Statistics) -> dict[str, Any]:
    west, south, east, north = extent.boxes[0]
    # One configuration per dataset: all bands, those of Sentinel-1 first, as `image` has them.
    names = [
        f"{sensor}:{band}" for sensor in statistics.sensors for band in _bands(manifest, sensor)
    ]
    spectral = [
        {
            "@type": "geocr:SpectralBand",
            "name": f"s2:{band}",
            "geocr:centerWavelength": {
                "@type": "sc:QuantitativeValue",
                "value": _WAVELENGTHS[band],
                "unitText": "nm",
            },
        }
        for band in (_bands(manifest, "s2") if "s2" in statistics.sensors else ())
    ]
    splits = manifest.splits
    geo: dict[str, Any] = {
        "spatialCoverage": {
            "@type": "sc:Place",
            # A box of schema.org names latitude first.
            "geo": {"@type": "sc:GeoShape", "box": f"{south} {west} {north} {east}"},
        },
        "temporalCoverage": f"{stamp(extent.start)}/{stamp(extent.end)}",
        "geocr:coordinateReferenceSystem": "OGC:CRS84",
        "geocr:spatialResolution": {
            "@type": "sc:QuantitativeValue",
            "value": 10,
            "unitText": "m",
        },
        "geocr:bandConfiguration": {
            "@type": "geocr:BandConfiguration",
            "geocr:totalBands": len(names),
            "geocr:bandNameList": names,
        },
        "geocr:samplingStrategy": (
            f"Patches of 1.2 km on the grid `{manifest.grid}`; splits {_dealt(splits)}."
        ),
        "geocr:spatialBias": (
            "Covers only the areas and dates that were asked for; classes and regions are not "
            "sampled in proportion to the Earth's surface."
        ),
    }
    if spectral:
        geo["geocr:spectralBandMetadata"] = spectral
    return geo


def _bands(manifest: Manifest, sensor: str) -> tuple[str, ...]:
    if sensor == "s1":
        return S1_BANDS
    return manifest.s2.bands if manifest.s2 is not None else ()


def _dealt(splits: Splits) -> str:
    if splits.method == "source":
        return "as the archives publish them"
    blocks = f" of {splits.block_km:g} km" if splits.method == "blocks" else ""
    shares = f"train {splits.train:g}, val {splits.val:g}, corpus {splits.corpus:g}"
    return f"by {splits.method}{blocks}: {shares}"


def _files(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "encodingFormat": _MEDIA[name],
            "contentSize": f"{len(data)} B",
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in files.items()
        if name in _MEDIA
    ]


def _shards(statistics: Statistics) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{sensor}-{split}",
            "name": f"{sensor}-{split}",
            "description": (
                f"{_SENSORS[sensor]} patches of split {split}: images as compressed frames, "
                "labels, captions, provenance."
            ),
            "encodingFormat": _PARQUET,
            "includes": f"{sensor}/{split}-*.parquet",
        }
        for (sensor, split), count in statistics.patches.items()
        if count
    ]


def _records() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "patches",
        "name": "patches",
        "description": "Every patch, without its image.",
        "key": {"@id": "patches/patch_id"},
        "field": [_field(name, *facts) for name, facts in _INDEX_FIELDS.items()],
    }


def _field(name: str, kind: str, description: str, many: bool) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"patches/{name}",
        "name": f"patches/{name}",
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": "index.parquet"}, "extract": {"column": name}},
    }
    return field | ({"isArray": True, "arrayShape": "-1"} if many else {})


def _context() -> dict[str, Any]:
    """Return the JSON-LD context of Croissant 1.1, with the prefix of GeoCroissant."""
    own = (
        *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
        *("field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray"),
        *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
        *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
        *("subField", "transform"),
    )
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "geocr": "http://mlcommons.org/croissant/geo/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        "description": {"@container": "@language"},
        **{name: f"cr:{name}" for name in own},
    }
