"""What readers of archives give, and the small checks they share."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from landmark.archive_settings import Archive
from landmark.archives.containers import Container, open_path
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest import S1_BANDS, Manifest, Period
from landmark.pixels import low_percentiles
from landmark.radiometry import backscatter_unit, offset_evidence
from landmark.scenes import Scene, Unit

T = TypeVar("T")

#: An archive's words for its splits -> ours. The gallery is what others call the test split.
SPLIT_NAMES: dict[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "corpus",
    "corpus": "corpus",
}


@dataclass(frozen=True)
class ArchiveImage:
    """One image of an archive.

    Attributes:
        scene: What it is; hrefs are as the container calls them.
        frame: The one patch it is, or None: patches are cut from its upper-left corner on.
    """

    scene: Scene
    frame: Frame | None


@dataclass(frozen=True)
class Request:
    """What is wanted of an archive.

    Attributes:
        files: Its files.
        location: Its folder or file, absolute.
        settings: What the manifest says of it.
        manifest: Bands, time, units.
        sensors: The sensors taken from it.
        note: Told of what the archive lists but does not hold.
    """

    files: Container
    location: str
    settings: Archive
    manifest: Manifest
    sensors: tuple[str, ...]
    note: Callable[[str], None]

    @property
    def origin(self) -> str:
        """How errors call the archive."""
        return self.files.origin

    def wants(self, sensor: str, name: str, day: str) -> bool:
        """Return whether an image is within the sensors, the time and the share asked for.

        Args:
            sensor: `s1` or `s2`.
            name: What the share is drawn by.
            day: ISO date (or time) of the image, or "" if the archive states none.
        """
        if sensor not in self.sensors or not within(day, self.manifest.time):
            return False
        if self.settings.share >= 1:
            return True
        draw = xxhash.xxh3_64_intdigest(f"{self.manifest.seed}:{name}".encode())
        return draw / 2.0**64 < self.settings.share

    def licence(self, sensor: str, default: str) -> str:
        """Return the licence recorded per patch."""
        source = self.manifest.s1 if sensor == "s1" else self.manifest.s2
        return (source.licence if source is not None else None) or default

    def bands(self, sensor: str) -> tuple[str, ...]:
        """Return the bands wanted of a sensor."""
        if sensor == "s1":
            return S1_BANDS
        return self.manifest.s2.bands if self.manifest.s2 is not None else ()

    def path(self, href: str) -> str:
        """Return what to open for a stored href."""
        return open_path(self.location, href)

    def hdf5(self, name: str) -> str:
        """Return what to open for an HDF5 file of the archive.

        Raises:
            InputError: There is no such file.
        """
        if not self.files.is_file(name):
            raise InputError(f"{self.origin}: holds no {name}")
        return self.path(self.files.href(name))

    def date(self, stated: str, name: str) -> tuple[str, tuple[str, ...]]:
        """Return the acquisition time of an image of which at most the day is known, and a note.

        Raises:
            InputError: The archive states no date and the manifest gives no nominal one.
        """
        if stated:
            return midnight(stated, f"{self.origin}: {name}"), ("time: only the day is known",)
        nominal = self.settings.nominal_date
        if nominal is None:
            raise InputError(
                f"{self.origin}: states no date of {name}; set nominal_date of this archive in the "
                "manifest (it is recorded as nominal)"
            )
        return f"{nominal.isoformat()}T00:00:00Z", ("date: nominal, the archive states none",)

    def unit(self, samples: Sequence[NDArray[np.floating]], what: str) -> tuple[Unit, str]:
        """Return the unit of an archive's backscatter, which its files do not state, and why.

        Args:
            samples: Values of some of its images.
            what: The images, for errors.

        Raises:
            InputError: The values prove nothing, or contradict each other.
        """
        stated = self.manifest.s1.unit if self.manifest.s1 is not None else "item"
        if stated != "item":
            return stated, "manifest"
        found = {backscatter_unit(values) for values in samples} - {None}
        if len(found) != 1:
            raise InputError(
                f"{self.origin}: the values of {what} do not show whether they are dB or linear "
                "power; set s1.unit in the manifest"
            )
        finite = np.concatenate([values[np.isfinite(values)] for values in samples])
        middle = float(np.median(finite))
        unit = found.pop()
        assert unit is not None
        return unit, f"values: {unit}, median {middle:.3g} in {len(samples)} images"


def within(day: str, period: Period | None) -> bool:
    """Return whether a day lies in a period; one that is not stated lies in none but no period."""
    if period is None:
        return True
    return bool(day) and period.start <= dt.date.fromisoformat(day[:10]) <= period.end


def midnight(day: str, origin: str) -> str:
    """Return the acquisition time of an image of which only the day is known.

    Raises:
        InputError: The text is no ISO date.
    """
    try:
        return f"{dt.date.fromisoformat(day[:10]).isoformat()}T00:00:00Z"
    except (ValueError, TypeError):
        raise InputError(f"{origin}: {day!r} is no date (YYYY-MM-DD)") from None


def read_json(files: Container, name: str) -> Any:
    """Return a JSON file of an archive; a key given twice is refused.

    Raises:
        InputError: It is missing or no JSON.
    """
    origin = f"{files.origin}/{name}"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{origin}: lists {twice!r} twice")
        return found

    try:
        return json.loads(files.read(name), object_pairs_hook=unique)
    except ValueError as error:
        raise InputError(f"{origin}: is no JSON ({error})") from None


def refuse_repeats(names: Iterable[str], origin: str) -> None:
    """Refuse an archive that lists one image twice.

    Raises:
        InputError: Names the first repeated one.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{origin}: lists {name!r} twice")
        seen.add(name)


def settle_offset(request: Request, samples: Sequence[Scene], title: str) -> str:
    """Return what dark pixels of some images say of the offset, which no archive states.

    All archives read here were made of Level-2A products older than baseline 04.00, or computed
    by their publishers, so the pixels should hold no offset.

    Args:
        request: The archive.
        samples: Sentinel-2 images; each pixel counts once per band.
        title: The archive's name, for the message.

    Raises:
        InputError: The pixels show that +1000 is in them.
    """
    lowest: dict[str, float] = {}
    for scene in samples:
        for band, value in low_percentiles(scene, request.path).items():
            lowest[band] = min(value, lowest.get(band, value))
    evidence = offset_evidence(lowest, 0)
    trusting = request.manifest.s2 is not None
    trusting = trusting and request.manifest.s2.on_conflict == "trust_metadata"  # type: ignore[union-attr]
    if evidence == "conflicts" and not trusting:
        raise InputError(
            f"{request.origin}: dark pixels show that +1000 is in the Sentinel-2 pixels, which "
            f"{title} does not have; check the files, or set s2.on_conflict: trust_metadata"
        )
    return evidence


def spread(images: Sequence[T], most: int) -> list[T]:
    """Return at most so many of some things, evenly spread over them."""
    step = max(1, -(-len(images) // most))
    return list(images[::step])
