"""Map files of a label source: what period each describes, and which of them to ask first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from landmark.errors import InputError
from landmark.label_settings import LabelCatalog
from landmark.local_catalog import read_items
from landmark.period import Period
from landmark.sources import is_url, unsigned
from landmark.stac_api import StacApi
from landmark.stac_items import AreaShape, Item, footprint, in_area, in_period, interval

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelFile:
    """One map.

    Attributes:
        path: What to open: an absolute path or a URL, unsigned.
        period: What it describes, or None where nothing says.
        box: West, south, east, north it lies in, degrees; None: unknown.
    """

    path: str
    period: Period | None
    box: Box | None = None

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(urlsplit(self.path).path if is_url(self.path) else self.path).name

    def days_from(self, day: dt.date) -> int | None:
        """Return how far a day lies from the period, 0 inside it; None where undated."""
        if self.period is None:
            return None
        return max((self.period.start - day).days, (day - self.period.end).days, 0)

    def meets(self, box: Box) -> bool:
        """Tell whether the file may reach into a box (degrees)."""
        if self.box is None:
            return True
        return any(
            self.box[0] + turn <= box[2]
            and box[0] <= self.box[2] + turn
            and self.box[1] <= box[3]
            and box[1] <= self.box[3]
            for turn in (-360.0, 0.0, 360.0)
        )


def find_label_files(
    catalog: LabelCatalog,
    *,
    collections: Sequence[str],
    asset: str,
    area: AreaShape | None,
    resolve: Callable[[str], str],
    field: str,
) -> tuple[LabelFile, ...]:
    """Return the maps a STAC catalog lists in an area, newest first, then by name.

    Args:
        catalog: Where to look; only items of its `time`.
        collections: Which collections; empty: all of a local catalog.
        asset: Key of the asset that is the map.
        area: Where; None: everywhere.
        resolve: Href of a local item, relative to the catalog's folder -> absolute path.
        field: The source's place in the manifest, for messages.

    Raises:
        InputError: Nothing is found, or an item has no such asset.
        LandmarkError: The API does not answer.
    """
    files = []
    for item, folder in _items(catalog, collections, area, field):
        wanted = not collections or item.get("collection") in collections
        if not (wanted and in_area(item, area) and in_period(item, catalog.time)):
            continue
        found = item["assets"].get(asset)
        if found is None:
            raise InputError(
                f"{field}.catalog.asset: item {item['id']} has no asset {asset!r}; there are "
                f"{', '.join(sorted(item['assets'])) or 'none'}"
            )
        href = str(found["href"])
        path = unsigned(href) if is_url(href) else resolve(str(folder / href))
        start, end = interval(item)
        shape = footprint(item)
        files.append(
            LabelFile(
                path=path,
                period=Period(start=start.date(), end=_last_day(start, end)),
                box=None if shape is None else tuple(shape.bounds),
            )
        )
    if not files:
        where = unsigned(catalog.href)
        raise InputError(
            f"{field}.catalog: {where} lists no map of "
            f"{', '.join(collections) or 'any collection'} where the patches lie"
        )
    unique = {file.path: file for file in files}.values()
    return tuple(sorted(unique, key=lambda f: (-f.period.end.toordinal(), f.path)))  # type: ignore[union-attr]


def nearest_first(
    files: Sequence[LabelFile], day: dt.date, most_days: float | None
) -> tuple[int, ...]:
    """Return positions of the files to ask for a day, best first.

    Dated files come by their distance in days, then in the order given; with `most_days`, those
    farther away (and undated ones) are left out.
    """
    ages = [file.days_from(day) for file in files]
    chosen = [
        k
        for k, age in enumerate(ages)
        if most_days is None or (age is not None and age <= most_days)
    ]
    return tuple(sorted(chosen, key=lambda k: (ages[k] is None, ages[k] or 0, k)))


def _items(
    catalog: LabelCatalog, collections: Sequence[str], area: AreaShape | None, field: str
) -> list[tuple[Item, Path]]:
    if catalog.kind == "api":
        found = StacApi(catalog.href).search(
            area=area,
            period=catalog.time,
            collections=collections,
            text=None,
            field=f"{field}.catalog",
        )
        return [(item, Path()) for item in found]
    path = Path(catalog.href)
    if path.is_dir():
        path = path / "catalog.json"
    if not path.is_file():
        raise InputError(f"{field}.catalog.href: {path}: no such file")
    return [(entry.item, entry.folder) for entry in read_items(path)]


def _last_day(start: dt.datetime, end: dt.datetime) -> dt.date:
    """Return the last day of an interval; a year that ends on the next 1st of January has 31.12."""
    if end > start and end.time() == dt.time():
        return (end - dt.timedelta(days=1)).date()
    return end.date()
