"""Crisis sources of a manifest, each read by its kind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harmonize.ems import read_delivery
from harmonize.events import Event, Mask, dated, lasting, read_vector_events, recorded_name
from harmonize.perimeters import read_perimeters
from harmonize.usgs import read_comcat, read_shakemap
from landmark.errors import InputError
from landmark.label_settings import EventSource
from landmark.raster_files import lonlat_box, read_header

#: Kinds whose areas were shaken: wide, and no evidence of damage.
_PRIORS = ("comcat", "shakemap")


def read_events(
    source: EventSource, file: Path, analysed: Path | None = None, permanent: Path | None = None
) -> tuple[Event, ...]:
    """Return the events of a source.

    Args:
        source: The manifest's entry.
        file: Its file or folder.
        analysed: Its `analysed` file, or None.
        permanent: Its `permanent_water` raster, or None.

    Raises:
        InputError: A file is not what the manifest says, or holds a date that is none.
    """
    if analysed is not None and source.kind != "vector":
        raise InputError(
            f"analysed: {analysed.name}: only a source of kind vector takes it; {source.kind} says "
            "itself what was looked at"
        )
    if permanent is not None and source.kind != "mask":
        raise InputError("permanent_water: only a source of kind mask takes it")
    if source.kind == "ems":
        return read_delivery(source, file)
    if source.kind in ("effis", "mtbs"):
        return read_perimeters(source, file)
    if source.kind == "comcat":
        return read_comcat(source, file)
    if source.kind == "shakemap":
        return read_shakemap(source, file)
    if source.kind == "mask":
        return (_read_mask(source, file, permanent),)
    return read_vector_events(source, file, analysed)


def prior_names(sources: Iterable[EventSource]) -> frozenset[str]:
    """Return what patches record as the source of events that only say where damage may be.

    A name that evidence of earthquakes goes by as well is none of them.
    """
    by_kind: dict[bool, set[str]] = {True: set(), False: set()}
    for source in sources:
        by_kind[source.kind in _PRIORS].add(recorded_name(source, Path(source.file)))
    return frozenset(by_kind[True] - by_kind[False])


def _read_mask(source: EventSource, file: Path, permanent: Path | None) -> Event:
    if source.type is None:
        raise InputError(f"{file}: a mask needs type (flood, fire or earthquake)")
    both = set(source.affected) & set(source.clear)
    if both:
        raise InputError(f"{file}: value {min(both)} is named as affected and as clear")
    read_header(file)
    if permanent is not None:
        read_header(permanent)
    start, end = dated(source)
    return Event(
        type=source.type,
        id=file.stem,
        start=start,
        end=end,
        geometry=None,
        analysed=None,
        source=recorded_name(source, file),
        lasts_days=lasting(source, source.type),
        mask=Mask(
            path=str(file),
            affected=source.affected,
            clear=source.clear,
            permanent=None if permanent is None else str(permanent),
            permanent_codes=source.permanent_codes,
            box=lonlat_box(file),
        ),
    )
