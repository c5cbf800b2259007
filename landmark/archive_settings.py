"""What a manifest says of a published archive: layout, place, what the archive does not state."""

from __future__ import annotations

import datetime as dt
from typing import Literal, Self

from pydantic import Field, model_validator

from landmark.manifest_model import Model

ArchiveFormat = Literal[
    "reben",
    "bigearthnet-v1",
    "cabuar",
    "mmflood",
    "sen12flood",
    "quakeset",
    "sen1floods11",
    "crisislandmark",
]


class NominalPlace(Model):
    """A place for the tiles of an archive that states none. It is not where they were taken."""

    epsg: int = Field(
        ge=32601, le=32760, description="UTM zone the tiles are laid out in, as an EPSG code."
    )
    x_min: float = Field(description="Western edge of the first tile, m.")
    y_max: float = Field(description="Northern edge of the first tile, m.")


class Archive(Model):
    """One published archive: a folder, a zip or tar file, or a URL of one."""

    format: ArchiveFormat = Field(description="Its layout (docs/archives/).")
    href: str = Field(
        description=(
            "Folder, zip or tar file, HDF5 file, or URL of a file; a relative path counts from "
            "the manifest's folder. A URL is downloaded once into the dataset's cache; a zip that "
            "compresses HDF5 files is unpacked there."
        )
    )
    name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="What hrefs in the plan call it; default: its format.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file of a URL."
    )
    md5: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", description="MD5 of the file of a URL, if that is known."
    )
    share: float = Field(
        1.0, gt=0, le=1, description="Share of its images kept, chosen by a hash of their name."
    )
    nominal_place: NominalPlace | None = Field(
        None,
        description=(
            "Where the tiles of an archive without georeference (CaBuAr) are laid out, one beside "
            "the other with gaps; recorded per patch as nominal."
        ),
    )
    nominal_date: dt.date | None = Field(
        None,
        description=(
            "Day recorded where the archive states none (CaBuAr, QuakeSet); marked as nominal "
            "per patch."
        ),
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name.startswith("."):
            raise ValueError(f"name {self.name!r} starts with a dot")
        if (self.sha256 or self.md5) and "://" not in self.href:
            raise ValueError("sha256 and md5 belong to an href that is a URL")
        return self
