"""Land-cover sources: their files found and checked, and what each says of patches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonize import corine, dynamic_world, reference_maps, tables
from harmonize.bigearthnet import undecided
from harmonize.crosswalks import Crosswalk, load_crosswalk
from harmonize.kinds import KINDS, Kind
from harmonize.merging import Evidence
from harmonize.odd_codes import refuse_code
from landmark import class_polygons, probabilities, rasters
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.label_files import Box, LabelFile, find_label_files, nearest_first
from landmark.label_settings import LabelRules, LabelSource
from landmark.raster_files import NOTHING, lonlat_box
from landmark.rasters import Counts, codes_on_frame, count_pictures, join_counts
from landmark.signing import NO_ACCESS, Access
from landmark.sources import Roots, label_access
from landmark.stac_items import AreaShape

#: Sources with more files than this are asked only for those near a shard.
_MANY_FILES = 4
#: Attribute with the code in CORINE's own vector files: Code_18, CODE_12, ...
_CLC_FIELD = r"code_\d\d"


@dataclass(frozen=True)
class Source:
    """A land-cover source with its files found and its crosswalk read.

    Attributes:
        settings: The manifest's entry.
        files: Its maps, in the order asked where dates do not decide.
        crosswalk: The crosswalk in force.
        field: Attribute with the code, of polygons.
        table: Labels of whole patches, of a table.
        probabilities: Whether the rasters hold one band per class.
        access: How rasters behind URLs are signed.
    """

    settings: LabelSource
    files: tuple[LabelFile, ...]
    crosswalk: Crosswalk
    field: str = ""
    table: tables.Table | None = None
    probabilities: bool = False
    access: Access = NO_ACCESS

    @property
    def kind(self) -> Kind:
        """What the source's kind stands for."""
        return KINDS[self.settings.kind]

    @property
    def paths(self) -> tuple[str, ...]:
        """What to open: absolute paths and URLs."""
        return tuple(file.path for file in self.files)

    @property
    def prefix(self) -> str:
        """Of its native labels."""
        return self.kind.prefix or self.crosswalk.source

    @property
    def threshold(self) -> float:
        """Share of the known area from which a class counts as present."""
        own = self.settings.threshold
        return self.kind.threshold if own is None else own

    @property
    def nodata(self) -> frozenset[int]:
        """Values that mean "not mapped", besides a file's declared nodata."""
        return self.kind.nodata | frozenset(self.settings.nodata)

    def near(self, box: Box, names: Sequence[str]) -> Source:
        """Return the source with only what may say something of patches in a box."""
        if self.table is not None:
            return replace(self, table=tables.near(self.table, names))
        return replace(self, files=tuple(file for file in self.files if file.meets(box)))


@dataclass(frozen=True)
class Patches:
    """What sources are asked about, arrays and lists of length n.

    Attributes:
        names: Patch ids.
        frames: Where.
        days: Acquisition days, UTC.
        references: The map that ships with each patch, or None.
        masks: (n, s, s) True on cloudy pixels, or None.
    """

    names: Sequence[str]
    frames: Sequence[Frame]
    days: Sequence[dt.date]
    references: Sequence[str | None]
    masks: NDArray[np.bool_] | None = None


def open_source(
    settings: LabelSource,
    roots: Roots,
    field: str,
    area: AreaShape | None = None,
    rules: LabelRules | None = None,
) -> Source:
    """Find a source's files, read its crosswalk, and look whether its codes can be trusted.

    Args:
        settings: The manifest's entry.
        roots: Where `sandbox:` paths start.
        field: The entry's place in the manifest, for messages.
        area: Where the patches lie: what a catalog is asked for.
        rules: How labels are decided (`max_label_age` needs dates).

    Raises:
        InputError: A file is missing or none of this kind, or the crosswalk is wrong.
        LandmarkError: A catalog does not answer.
    """
    kind = KINDS[settings.kind]
    own_maps = settings.kind == "reference-map"
    if own_maps and settings.rasters:
        raise InputError(f"{field}.rasters: reference maps come with the archive; leave it empty")
    if not own_maps and not settings.rasters and settings.catalog is None:
        raise InputError(f"{field}.rasters: names no file; a {settings.kind} source needs one")
    crosswalk = _crosswalk(settings, kind)
    if settings.kind == "table":
        return _open_table(settings, roots, crosswalk, field)
    files = _catalogued(settings, kind, roots, area, field) or _named(settings, kind, roots)
    source = Source(settings, files, crosswalk, access=label_access(settings.catalog))
    _check_dates(source, rules, field)
    if any(class_polygons.is_vector(path) for path in source.paths):
        return _open_polygons(source, field)
    if settings.kind == "polygons":
        raise InputError(f"{field}.rasters: {source.paths[0]} is no vector file of polygons")
    if settings.kind == "dynamic-world" and files:
        bands = {
            probabilities.band_count(path, source.access) > 1 for path in source.paths[:_MANY_FILES]
        }
        source = replace(source, probabilities=bands == {True})
    if settings.catalog is None:
        _check_rasters(source)
    return source


def gather_evidence(source: Source, patches: Patches, rules: LabelRules) -> Evidence:
    """Ask a source about patches.

    Raises:
        InputError: It holds a code its crosswalk does not map; the message says where.
    """
    settings = source.settings
    if not settings.mask_clouds:
        patches = replace(patches, masks=None)
    tagged = settings.kind == "table"
    return Evidence(
        source=settings.kind,
        prefix=source.prefix,
        version=settings.version,
        crosswalk=source.crosswalk,
        threshold=source.threshold,
        counts=_count(source, patches, rules),
        tagged=tagged,
        complete=tagged and settings.complete,
        undecided=undecided(source.crosswalk) if tagged else 0,
    )


def native_picture(
    source: Source, patches: Patches, rules: LabelRules
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return a source's native codes on the first patch, (120, 120), and where they cover it."""
    frame, day, reference = patches.frames[0], patches.days[0], patches.references[0]
    if source.settings.kind == "reference-map":
        fits = reference is not None and _in_time(source, day, rules)
        paths = [reference] if reference is not None and fits else []
    else:
        order = nearest_first(source.files, day, _most_days(source, rules))
        paths = [source.paths[k] for k in order]
    if source.table is not None or not paths:
        return np.full((120, 120), NOTHING, np.int32), np.zeros((120, 120), np.bool_)
    if source.field:
        picture = _polygon_pictures(source, [frame])[0]
        codes, covered = picture, ~np.isin(picture, [NOTHING, *source.nodata])
    elif source.probabilities:
        picture = _likeliest(source, paths, [frame])[0]
        codes, covered = picture, picture != NOTHING
    else:
        codes, covered = codes_on_frame(paths, frame, nodata=source.nodata, access=source.access)
        # Labels exported as label + 1 have 0 for "not mapped".
        codes = codes - np.int32(source.settings.label_shift)
        covered &= codes >= 0
    if source.kind.prefix == "clc":
        codes = corine.to_clc_codes(codes)
    return codes, covered


def file_names(source: Source) -> tuple[str, ...]:
    """Return the names of a source's files, without folders."""
    return tuple(file.name for file in source.files)


def _crosswalk(settings: LabelSource, kind: Kind) -> Crosswalk:
    name = settings.crosswalk or kind.crosswalk
    assert name is not None  # the manifest's model sees to it
    return load_crosswalk(name, kind.nomenclature, kind.codes)


def _open_table(settings: LabelSource, roots: Roots, crosswalk: Crosswalk, field: str) -> Source:
    if len(settings.rasters) != 1:
        raise InputError(f"{field}.rasters: a table is one file")
    path = str(roots.label_path(settings.rasters[0]))
    table = tables.read_table(path, settings.field, crosswalk)
    return Source(settings, (LabelFile(path, settings.period),), crosswalk, table=table)


def _open_polygons(source: Source, field: str) -> Source:
    if len(source.files) != 1:
        raise InputError(f"{field}.rasters: polygons are one file")
    settings, path = source.settings, source.paths[0]
    if settings.kind == "corine" and settings.field is None:
        return replace(source, field=class_polygons.find_field(path, _CLC_FIELD, settings.layer))
    if settings.field is None:
        raise InputError(f"{field}.field: name the attribute of {path} that holds the code")
    return replace(source, field=class_polygons.find_field(path, settings.field, settings.layer))


def _named(settings: LabelSource, kind: Kind, roots: Roots) -> tuple[LabelFile, ...]:
    paths = [str(roots.label_path(raster)) for raster in settings.rasters]
    period = settings.period or kind.period
    many = len(paths) > _MANY_FILES
    return tuple(
        LabelFile(
            path=path,
            period=kind.date(Path(path).name) or period,
            box=lonlat_box(path) if many and not class_polygons.is_vector(path) else None,
        )
        for path in paths
    )


def _catalogued(
    settings: LabelSource, kind: Kind, roots: Roots, area: AreaShape | None, field: str
) -> tuple[LabelFile, ...]:
    catalog = settings.catalog
    if catalog is None:
        return ()
    collections = catalog.collections or ((kind.collection,) if kind.collection else ())
    if not collections and catalog.kind == "api":
        raise InputError(f"{field}.catalog.collections: name the collection of a {settings.kind}")
    found = find_label_files(
        catalog,
        collections=collections,
        asset=catalog.asset or kind.asset,
        area=area,
        resolve=lambda href: str(roots.label_path(href)),
        field=field,
    )
    # A file name that states its year says it more exactly than an item's interval.
    return tuple(replace(file, period=kind.date(file.name) or file.period) for file in found)


def _check_dates(source: Source, rules: LabelRules | None, field: str) -> None:
    settings = source.settings
    limits = {
        "window_days": settings.window_days,
        "label_rules.max_label_age": rules.max_label_age if rules else None,
    }
    undated = next((file for file in source.files if file.period is None), None)
    for name, limit in limits.items():
        if limit is not None and undated is not None:
            raise InputError(
                f"{field}.period: {undated.name} states no date, which {name} needs; give the "
                "period the map describes"
            )


def _check_rasters(source: Source) -> None:
    settings = source.settings
    for path in source.paths:
        if settings.kind == "corine":
            corine.check_raster(path, settings.nodata)
        elif settings.kind == "dynamic-world" and not source.probabilities:
            dynamic_world.check_raster(path, settings.label_shift, tuple(source.nodata))


def _most_days(source: Source, rules: LabelRules) -> float | None:
    limits = [x for x in (source.settings.window_days, rules.max_label_age) if x is not None]
    return min(limits) if limits else None


def _in_time(source: Source, day: dt.date, rules: LabelRules) -> bool:
    """Tell whether maps that ship with patches are near enough to an acquisition."""
    most = _most_days(source, rules)
    age = LabelFile("", source.settings.period or source.kind.period).days_from(day)
    return most is None or (age is not None and age <= most)


def _count(source: Source, patches: Patches, rules: LabelRules) -> Counts:
    if source.table is not None:
        return tables.count(source.table, patches.names, source.crosswalk)
    if source.settings.kind == "reference-map":
        maps = [
            reference if _in_time(source, day, rules) else None
            for reference, day in zip(patches.references, patches.days, strict=True)
        ]
        return reference_maps.count(maps, patches.frames, source.settings.nodata, patches.masks)
    most = _most_days(source, rules)
    groups: dict[tuple[int, ...], list[int]] = {}
    orders: dict[dt.date, tuple[int, ...]] = {}
    for row, day in enumerate(patches.days):
        if day not in orders:
            orders[day] = nearest_first(source.files, day, most)
        groups.setdefault(orders[day], []).append(row)
    parts = []
    for order, members in groups.items():
        if not order:
            continue
        rows = np.array(members, np.intp)
        frames = [patches.frames[row] for row in members]
        masks = None if patches.masks is None else patches.masks[rows]
        parts.append((rows, _count_files(source, [source.paths[k] for k in order], frames, masks)))
    return join_counts(parts, len(patches.frames))


def _count_files(
    source: Source, paths: list[str], frames: list[Frame], masks: NDArray[np.bool_] | None
) -> Counts:
    """Count codes of some maps, the first that covers a pixel decides (or their mean)."""
    if source.field:
        nothing = {NOTHING, *source.nodata}
        return _checked(
            source, paths, frames, count_pictures(_polygon_pictures(source, frames), nothing, masks)
        )
    if source.probabilities:
        return count_pictures(_likeliest(source, paths, frames), {NOTHING}, masks)
    if source.settings.kind == "corine":
        return corine.count(paths, frames, source.settings.nodata, masks, source.access)
    if source.settings.kind == "dynamic-world":
        shift = source.settings.label_shift
        nodata = tuple(source.nodata)
        return dynamic_world.count(paths, frames, shift, nodata, masks, source.access)
    found = rasters.class_counts(
        paths, frames, nodata=source.nodata, masks=masks, access=source.access
    )
    return _checked(source, paths, frames, found)


def _polygon_pictures(source: Source, frames: Sequence[Frame]) -> NDArray[np.int32]:
    nodata = {str(code): code for code in source.nodata}

    def code_of(text: str) -> int | None:
        return nodata.get(text) if text in nodata else source.crosswalk.code_of(text)

    path, layer = source.paths[0], source.settings.layer
    return class_polygons.polygon_codes(path, frames, source.field, code_of, layer)


def _likeliest(source: Source, paths: list[str], frames: Sequence[Frame]) -> NDArray[np.int32]:
    classes = len(dynamic_world.LABELS)
    codes, top = probabilities.composite(paths, frames, classes, source.access)
    return np.where(top >= source.settings.min_probability, codes, np.int32(NOTHING))


def _checked(source: Source, paths: list[str], frames: list[Frame], found: Counts) -> Counts:
    """Refuse codes the crosswalk does not map: silently they would be ground of no class."""
    for code in sorted(set(found.codes.tolist()) - set(source.crosswalk.codes())):
        why = f"crosswalk {source.crosswalk.name} does not map"
        refuse_code(code, paths, frames, why, source.access)
    return found
