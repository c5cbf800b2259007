"""Licences and attributions: of every source, per patch, and summed with the strictest first.

A licence that is not stated counts as the strictest: nothing says that the data may be passed on.
Nothing here is legal advice; it carries what the sources state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landmark.archives import about
from landmark.manifest import EventSource, LabelSource, Manifest

NOT_STATED = "not stated"
_SANDBOX = "sandbox:"
#: From the strictest to the freest; the first pattern that occurs in a licence's name decides.
#: What none of them knows is taken to be as strict as terms of its own.
_STRICTNESS: tuple[tuple[int, str], ...] = (
    (0, r"^not[ -](stated|established)$"),
    (1, r"\bnd\b"),
    (2, r"\bnc\b|non-?commercial"),
    (3, r"\bsa\b|\bodbl\b|\bgpl\b|share-?alike"),
    (5, r"cc0|public[ -]?domain|\bpddl\b|unlicense"),
    (4, r"\bcc-by\b|\bcdla-permissive\b|\bmit\b|\bapache\b|\bbsd\b|\bodc-by\b|copernicus"),
)
_OWN_TERMS = 1
_EVENT_TYPES = ("flood", "fire", "earthquake")


@dataclass(frozen=True)
class Terms:
    """What one source asks of those who use it.

    Attributes:
        licence: SPDX identifier or name; `NOT_STATED` where the source states none.
        attribution: Sentence that names the source; "" where none is asked for.
    """

    licence: str = NOT_STATED
    attribution: str = ""


_SYNTHETIC = Terms("CC0-1.0", "Synthetic data made by the sandbox of landmark.")
#: Terms of label sources by kind, as their producers state them.
_LABELS: dict[str, Terms] = {
    "corine": Terms(
        "LicenseRef-Copernicus-CLMS",
        "CORINE Land Cover: European Union, Copernicus Land Monitoring Service, European "
        "Environment Agency.",
    ),
    "dynamic-world": Terms(
        "CC-BY-4.0", "Dynamic World: Google and World Resources Institute, CC BY 4.0."
    ),
    "worldcover": Terms(
        "CC-BY-4.0",
        "ESA WorldCover project, contains modified Copernicus Sentinel data, CC BY 4.0.",
    ),
    "io-lulc": Terms(
        "CC-BY-4.0", "Land cover by Impact Observatory, Microsoft and Esri, CC BY 4.0."
    ),
    "reference-map": Terms(
        "LicenseRef-Copernicus-CLMS",
        "CORINE Land Cover (European Union, Copernicus Land Monitoring Service) as mapped by the "
        "archive's authors.",
    ),
}
#: Terms of crisis sources by kind; polygons and masks of anybody's state their own.
_EVENTS: dict[str, Terms] = {
    "ems": Terms(
        "LicenseRef-Copernicus-EMS",
        "European Union, Copernicus Emergency Management Service (rapid mapping).",
    ),
    "effis": Terms(
        "LicenseRef-Copernicus-EMS",
        "European Forest Fire Information System (EFFIS), Copernicus Emergency Management Service.",
    ),
    "mtbs": Terms(
        "LicenseRef-US-Public-Domain", "Monitoring Trends in Burn Severity (USGS, USFS)."
    ),
    "comcat": Terms("LicenseRef-US-Public-Domain", "USGS ANSS Comprehensive Earthquake Catalog."),
    "shakemap": Terms("LicenseRef-US-Public-Domain", "USGS ShakeMap."),
}


@dataclass(frozen=True)
class SourceTerms:
    """Terms of all sources of a dataset.

    Attributes:
        labels: Kind of label source, or archive that ships its own labels -> terms.
        events: Type of event -> terms.
        pixels: Sensor -> attribution the manifest gives; licences come with each patch.
        synthetic: Whether pixels come from the sandbox.
    """

    labels: Mapping[str, Terms] = field(default_factory=lambda: dict(_LABELS))
    events: Mapping[str, Terms] = field(default_factory=dict)
    pixels: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False

    @classmethod
    def of(cls, manifest: Manifest) -> SourceTerms:
        """Return the terms a manifest states, and the producers' where it states none."""
        sensors = {"s1": manifest.s1, "s2": manifest.s2}
        return cls(
            labels=dict(_LABELS)
            | {source.kind: _label(source) for source in manifest.labels}
            | _archives(manifest),
            events=_events(manifest.events),
            pixels={
                sensor: source.attribution
                for sensor, source in sensors.items()
                if source is not None and source.attribution
            },
            synthetic=any(c.kind == "sandbox" for c in manifest.catalogs().values()),
        )


def columns_of(patches: pa.Table, masks: pa.Table, terms: SourceTerms) -> dict[str, pa.Array]:
    """Return `licences` (strictest first) and `attributions` of each patch.

    Args:
        patches: Rows of a patch shard: `sensor`, `datetime`, `provenance`.
        masks: The same patches' rows of labels/: `label_sources`, `events`.
        terms: Of all sources.
    """
    known: dict[tuple[object, ...], tuple[list[str], list[str]]] = {}
    licences, attributions = [], []
    for sensor, time, record, sources, events in zip(
        patches["sensor"].to_pylist(),
        patches["datetime"].to_pylist(),
        patches["provenance"].to_pylist(),
        masks["label_sources"].to_pylist(),
        masks["events"].to_pylist(),
        strict=True,
    ):
        named = {source["source"] or "" for source in sources}
        # The event an archive took an image for comes under the archive's own terms.
        named |= {event["source"] for event in events if event["source"] in terms.labels}
        types = {event["type"] for event in events if event["source"] not in terms.labels}
        key = (
            sensor,
            time.year,
            (record or {}).get("licence") or NOT_STATED,
            tuple(sorted(named)),
            tuple(sorted(types)),
        )
        if key not in known:
            known[key] = _row(terms, *key)
        licences.append(known[key][0])
        attributions.append(known[key][1])
    kind = pa.list_(pa.string())
    return {"licences": pa.array(licences, kind), "attributions": pa.array(attributions, kind)}


def strictest_first(licences: Iterable[str]) -> list[str]:
    """Return distinct licences, the strictest first, equals by name."""
    return sorted(set(licences), key=lambda name: (strictness(name), name))


def strictness(licence: str) -> int:
    """Return how strict a licence is: 0 (not stated) to 5 (public domain)."""
    name = re.sub(r"[_\s]+", "-", licence.strip().lower()) if licence != NOT_STATED else NOT_STATED
    for rank, pattern in _STRICTNESS:
        if re.search(pattern, name):
            return rank
    return _OWN_TERMS


def summed(index: pa.Table) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return licence -> patches under it, the strictest first, and all attributions, sorted."""
    counted = pc.value_counts(pc.list_flatten(index["licences"])).to_pylist()
    counts = {row["values"]: row["counts"] for row in counted}
    notices = pc.unique(pc.list_flatten(index["attributions"])).to_pylist()
    return {name: counts[name] for name in strictest_first(counts)}, tuple(sorted(notices))


def _row(terms: SourceTerms, *key: Any) -> tuple[list[str], list[str]]:
    sensor, year, licence, kinds, types = key
    sources = [terms.labels.get(kind, Terms()) for kind in kinds]
    sources += [terms.events.get(kind, Terms()) for kind in types]
    if sensor in terms.pixels:
        credit = terms.pixels[sensor]
    elif terms.synthetic:
        credit = _SYNTHETIC.attribution
    else:
        credit = f"Contains modified Copernicus Sentinel data {year}."
    licences = strictest_first([licence, *(source.licence for source in sources)])
    notices = {credit, *(source.attribution for source in sources if source.attribution)}
    return licences, sorted(notices)


def _label(source: LabelSource) -> Terms:
    synthetic = bool(source.rasters) and all(r.startswith(_SANDBOX) for r in source.rasters)
    base = _SYNTHETIC if synthetic else _LABELS.get(source.kind, Terms())
    return Terms(source.licence or base.licence, source.attribution or base.attribution)


def _archives(manifest: Manifest) -> dict[str, Terms]:
    """Return archive -> terms of the labels it ships, where a manifest asks for them."""
    asked = next((source for source in manifest.labels if source.kind == "archive"), None)
    if asked is None:
        return {}
    found: dict[str, Terms] = {}
    for catalog in manifest.catalogs().values():
        for archive in catalog.members().values():
            known = about(archive.format)
            credit = asked.attribution or f"Labels by the authors of {known.title}."
            found[archive.format] = Terms(asked.licence or known.licence, credit)
    return found


def _events(sources: Iterable[EventSource]) -> dict[str, Terms]:
    """Return the terms of each type of event; of several sources of a type the strictest."""
    found: dict[str, Terms] = {}
    for source in sources:
        own = _event(source)
        # A delivery may hold any type: it stands for all of them.
        for kind in (source.type,) if source.type is not None else _EVENT_TYPES:
            other = found.get(kind, own)
            lines = sorted({line for line in (own.attribution, other.attribution) if line})
            stricter = strictest_first((own.licence, other.licence))[0]
            found[kind] = Terms(stricter, " ".join(lines))
    return found


def _event(source: EventSource) -> Terms:
    synthetic = source.file.startswith(_SANDBOX)
    base = _SYNTHETIC if synthetic else _EVENTS.get(source.kind, Terms())
    return Terms(source.licence or base.licence, source.attribution or base.attribution)
