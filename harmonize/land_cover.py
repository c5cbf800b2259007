"""The kinds of land-cover source a manifest can name, and how each is counted on patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from harmonize import corine, dynamic_world, reference_maps
from harmonize.crosswalks import Crosswalk, load_crosswalk
from harmonize.merging import Evidence
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import LabelSource
from landmark.rasters import Counts, codes_on_frame
from landmark.sources import Roots


@dataclass(frozen=True)
class Kind:
    """What a `kind` of the manifest stands for.

    Attributes:
        prefix: Of its native labels: `clc:311`.
        nomenclature: What its crosswalk's rows name as `source`.
        crosswalk: Default crosswalk.
        codes: Every code it may hold.
        threshold: Default presence threshold. A 100 m CORINE pixel is 100 of our pixels, and its
            smallest mapped unit is 25 ha: below 5 % of a patch (7 ha) it says little. 10 m
            sources carry classes from 2 % (3 ha) on.
    """

    prefix: str
    nomenclature: str
    crosswalk: str
    codes: tuple[int, ...]
    threshold: float


KINDS: MappingProxyType[str, Kind] = MappingProxyType(
    {
        "corine": Kind("clc", "corine", "corine", corine.CLC_CODES, 0.05),
        "reference-map": Kind("clc", "corine", "corine", corine.CLC_CODES, 0.05),
        "dynamic-world": Kind("dw", "dynamic-world", "dynamic-world", dynamic_world.LABELS, 0.02),
    }
)


@dataclass(frozen=True)
class Source:
    """A land-cover source with its files found and its crosswalk read.

    Attributes:
        settings: The manifest's entry.
        paths: Raster files, absolute.
        crosswalk: The crosswalk in force.
    """

    settings: LabelSource
    paths: tuple[str, ...]
    crosswalk: Crosswalk

    @property
    def kind(self) -> Kind:
        """What the source's kind stands for."""
        return KINDS[self.settings.kind]

    @property
    def threshold(self) -> float:
        """Share of the known area from which a class counts as present."""
        own = self.settings.threshold
        return self.kind.threshold if own is None else own


def open_source(settings: LabelSource, roots: Roots, field: str) -> Source:
    """Find a source's files, read its crosswalk, and look whether its codes can be trusted.

    Args:
        settings: The manifest's entry.
        roots: Where `sandbox:` paths start.
        field: The entry's place in the manifest, for messages.

    Raises:
        InputError: A file is missing or no raster of this kind, or the crosswalk is wrong.
    """
    kind = KINDS[settings.kind]
    own_maps = settings.kind == "reference-map"
    if own_maps and settings.rasters:
        raise InputError(f"{field}.rasters: reference maps come with the archive; leave it empty")
    if not own_maps and not settings.rasters:
        raise InputError(f"{field}.rasters: names no raster; a {settings.kind} source needs one")
    crosswalk = load_crosswalk(settings.crosswalk or kind.crosswalk, kind.nomenclature, kind.codes)
    paths = tuple(str(roots.label_path(raster)) for raster in settings.rasters)
    for path in paths:
        if settings.kind == "corine":
            corine.check_raster(path, settings.nodata)
        else:
            dynamic_world.check_raster(path, settings.label_shift, settings.nodata)
    return Source(settings, paths, crosswalk)


def gather_evidence(
    source: Source,
    frames: Sequence[Frame],
    references: Sequence[str | None],
    masks: NDArray[np.bool_] | None,
) -> Evidence:
    """Count a source's codes on frames.

    Args:
        source: The source.
        frames: Where.
        references: The map that ships with each patch, or None (only for reference maps).
        masks: (frames, s, s) True on cloudy pixels; used where the source asks for it.
    """
    settings = source.settings
    return Evidence(
        source=settings.kind,
        prefix=source.kind.prefix,
        version=settings.version,
        crosswalk=source.crosswalk,
        threshold=source.threshold,
        counts=_count(source, frames, references, masks if settings.mask_clouds else None),
    )


def _count(
    source: Source,
    frames: Sequence[Frame],
    references: Sequence[str | None],
    masks: NDArray[np.bool_] | None,
) -> Counts:
    settings = source.settings
    if settings.kind == "reference-map":
        return reference_maps.count(references, frames, settings.nodata, masks)
    if settings.kind == "corine":
        return corine.count(source.paths, frames, settings.nodata, masks)
    return dynamic_world.count(source.paths, frames, settings.label_shift, settings.nodata, masks)


def native_picture(
    source: Source, frame: Frame, reference: str | None
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return a source's native codes on a frame, (120, 120), and where they cover it.

    Args:
        source: The source.
        frame: Where.
        reference: The map that ships with the patch, or None.
    """
    settings = source.settings
    own = set(settings.nodata)
    if settings.kind == "dynamic-world":
        valid = [label + settings.label_shift for label in dynamic_world.LABELS]
        codes, covered = codes_on_frame(source.paths, frame, nodata=own, valid=valid)
        return codes - np.int32(settings.label_shift), covered
    maps = [reference] if reference is not None else []
    paths = maps if settings.kind == "reference-map" else source.paths
    codes, covered = codes_on_frame(paths, frame, nodata=corine.NODATA_CODES | own)
    return corine.to_clc_codes(codes), covered


def file_names(source: Source) -> tuple[str, ...]:
    """Return the names of a source's files, without folders."""
    return tuple(Path(path).name for path in source.paths)
