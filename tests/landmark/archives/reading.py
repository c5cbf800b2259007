"""Reading archives in tests, as the plan does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from landmark.archive_settings import Archive, NominalPlace
from landmark.archives import MODULES
from landmark.archives.containers import open_container
from landmark.archives.reading import ArchiveImage, Request
from landmark.errors import InputError
from landmark.manifest import Catalog, Manifest, Sentinel1, Sentinel2

#: Where and when CaBuAr's tiles are said to be.
PLACE = NominalPlace(epsg=32610, x_min=300_000, y_max=4_400_000)
NOMINAL: dict[str, Any] = {"nominal_place": PLACE, "nominal_date": "2020-01-01"}


def manifest_of(
    archive: Archive, s1: Sentinel1 | None = None, s2: Sentinel2 | None = None, **options: Any
) -> Manifest:
    return Manifest(
        name="test",
        catalog=Catalog(kind="archive", archives=(archive,)),
        grid="source",
        s1=s1,
        s2=s2,
        **options,
    )


def read_images(
    archive_format: str,
    folder: Path,
    manifest: Manifest | None = None,
    *,
    notes: list[str] | None = None,
    **settings: Any,
) -> list[ArchiveImage]:
    """Return every image of an archive; both sensors where no manifest is given."""
    own = Archive(format=archive_format, href=str(folder), **settings)  # type: ignore[arg-type]
    asked = manifest or manifest_of(own, Sentinel1(), Sentinel2())
    said: list[str] = [] if notes is None else notes
    request = Request(open_container(folder), str(folder), own, asked, asked.sensors(), said.append)
    return list(importlib.import_module(MODULES[archive_format]).read_images(request))


def refused(archive_format: str, folder: Path, **settings: Any) -> str:
    """Return the one line that reading an archive ends with."""
    with pytest.raises(InputError) as caught:
        read_images(archive_format, folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
