"""The manifest's part on catalogs: where scenes are listed, and how their files are opened."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from landmark.archive_settings import Archive, ArchiveFormat
from landmark.manifest_model import Model


class FileAccess(Model):
    """How the files of a catalog are opened; tokens themselves never stand in a manifest."""

    scheme: Literal["sas", "bearer", "query", "netrc"] = Field(
        description=(
            "`sas`: a service hands out tokens per container; `bearer`: a token in the "
            "Authorization header; `query`: a token as query string; `netrc`: user and password."
        )
    )
    hosts: tuple[str, ...] = Field(
        min_length=1, description="Hosts (with port) that may be sent the token, and no other."
    )
    variable: str = Field("", description="Environment variable with the token (bearer, query).")
    token_url: str = Field(
        "", description="Token service of `sas`: TOKEN_URL/CONTAINER gives {token, msft:expiry}."
    )
    connections: int = Field(
        0,
        ge=0,
        description="Connections at once a host allows, all processes together; 0: any number.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scheme in ("bearer", "query") and not self.variable:
            raise ValueError(f"scheme {self.scheme} needs variable: the name of the environment's")
        if self.scheme == "sas" and not self.token_url.startswith(("https://", "http://")):
            raise ValueError("scheme sas needs token_url, an http(s) URL")
        return self


class Catalog(Model):
    """Where scenes are listed."""

    kind: Literal["sandbox", "local", "api", "archive"] = Field(
        description=(
            "`sandbox`: the embedded synthetic Earth; `local`: a static STAC catalog, an "
            "ItemCollection or an ndjson file; `api`: a STAC API; `archive`: a published "
            "dataset's folder."
        )
    )
    href: str | None = Field(
        None,
        description="File, folder or URL; a relative path counts from the manifest's folder.",
    )
    format: ArchiveFormat | None = Field(
        None, description="Layout of an archive (docs/archives/), where there is only one."
    )
    archives: tuple[Archive, ...] = Field(
        (), description="The archives of kind `archive`, instead of `href` and `format`."
    )
    size: Literal["small", "demo"] = Field(
        "demo", description="How much synthetic Earth a sandbox holds."
    )
    access: FileAccess | None = Field(
        None, description="How its remote files are opened; none: as the provider knows."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.archives:
            if self.kind != "archive" or self.href is not None or self.format is not None:
                raise ValueError("archives belong to kind archive, instead of href and format")
            names = [archive.name or archive.format for archive in self.archives]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"two archives are called {twice!r}: give them different names")
            return self
        if self.kind != "sandbox" and self.href is None:
            raise ValueError(f"a catalog of kind {self.kind} needs href")
        if (self.kind == "archive") != (self.format is not None):
            raise ValueError("format belongs to a catalog of kind archive, and is needed there")
        return self

    def members(self) -> dict[str, Archive]:
        """Return the archives by name; a lone one given by `href` and `format` is called ""."""
        if self.kind == "archive" and self.href is not None and self.format is not None:
            return {"": Archive(format=self.format, href=self.href)}
        return {archive.name or archive.format: archive for archive in self.archives}
