"""What an archive is, for people: where it is had, how large it is, under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from landmark.errors import InputError


@dataclass(frozen=True)
class About:
    """An archive in words.

    Attributes:
        title: Its name.
        licence: What it is published under, as far as known.
        source: Where it is had.
        size: How large it is, and how that is known.
        hdf5: Whether its images are arrays of HDF5 files.
    """

    title: str
    licence: str
    source: str
    size: str
    hdf5: bool = False


@dataclass(frozen=True)
class Missing:
    """An archive a manifest names that is not there.

    Attributes:
        name: What the manifest calls it.
        href: Where it was looked for.
        about: What it is.
    """

    name: str
    href: str
    about: About

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "href": self.href,
            "title": self.about.title,
            "source": self.about.source,
            "size": self.about.size,
            "licence": self.about.licence,
        }

    def line(self) -> str:
        """Return one line for people."""
        about = self.about
        return (
            f"{self.name}: {about.title}; {about.size}; licence {about.licence}; from "
            f"{about.source}; put it at {self.href}"
        )


class MissingArchivesError(InputError):
    """Archives are not where the manifest says; `missing` tells how each is had."""

    def __init__(self, missing: tuple[Missing, ...]) -> None:
        self.missing = missing
        names = ", ".join(f"{one.name} ({one.href})" for one in missing)
        super().__init__(
            f"archives are missing: {names}; `landmark fetch ... --plan` lists where to get them"
        )
