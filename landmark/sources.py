"""Where the hrefs of a manifest's catalogs start, and which of them may be opened.

Hrefs come from catalogs, so they are not trusted: a URL is taken as it is (without any
signature), a path must stay inside the catalog's folder. A `Roots` value is small, picklable and
follows from the manifest and the dataset directory alone, so every worker can make its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.label_settings import LabelCatalog
from landmark.manifest import Catalog, Manifest
from landmark.progress import Progress, Silent
from landmark.signing import NO_ACCESS, Access, Signer, signer

SANDBOX_PREFIX = "sandbox:"
_SCHEMES = ("http", "https", "s3", "gs", "az", "abfs")
#: Query keys that carry a signature or token (Azure SAS, S3 and GCS presigned URLs, OAuth).
_SECRET_KEYS = frozenset(
    {"sig", "x-amz-signature", "x-goog-signature", "signature", "token", "access_token"}
)


@dataclass(frozen=True)
class Root:
    """Where one catalog lies.

    Attributes:
        kind: `sandbox`, `local`, `api` or `archive`.
        entry: Catalog file, archive folder, or API URL.
        folder: Folder its relative hrefs start from; "" for an API.
        access: How its remote files are opened (`landmark.signing`).
        members: Archives only: (name, folder or file) of each; hrefs start with the name.
    """

    kind: str
    entry: str
    folder: str
    access: Access = NO_ACCESS
    members: tuple[tuple[str, str], ...] = ()

    @cached_property
    def locations(self) -> dict[str, str]:
        """`members` by name."""
        return dict(self.members)

    @cached_property
    def folders(self) -> frozenset[str]:
        """Those of `members` that are folders."""
        return frozenset(path for _, path in self.members if Path(path).is_dir())

    def member(self, href: str) -> tuple[str, str]:
        """Return the archive an href of one of several (or of the only one) is in, and the rest.

        Raises:
            InputError: There is none of its name.
        """
        only = self.locations.get("")
        if only is not None:
            return only, href
        name, _, inner = href.partition("/")
        if name not in self.locations:
            raise InputError(f"href {href!r}: the manifest names no archive {name!r}")
        return self.locations[name], inner


@dataclass(frozen=True)
class Roots:
    """The catalogs of a manifest's sensors.

    Attributes:
        s1: Sentinel-1's catalog, or None.
        s2: Sentinel-2's catalog, or None.
        sandbox: Folder of the sandbox, or None where no catalog is one.
    """

    s1: Root | None
    s2: Root | None
    sandbox: str | None = None

    def root(self, sensor: str) -> Root:
        """Return the catalog of a sensor."""
        found = self.s1 if sensor == "s1" else self.s2
        if found is None:
            raise InputError(f"the manifest names no {sensor}")
        return found

    def signer(self, sensor: str) -> Signer:
        """Return what signs the URLs of a sensor's catalog at the moment of reading."""
        return signer(self.root(sensor).access)

    def stored(self, sensor: str, href: str, base: str = "") -> str:
        """Return an href as the plan keeps it: an unsigned URL, or a path relative to the root.

        Args:
            sensor: Whose catalog.
            href: As the item gives it.
            base: Folder the item's relative hrefs start from; "" for the root itself.

        Raises:
            InputError: A local href leaves the catalog's folder, or its scheme is unknown.
        """
        if is_url(href):
            return unsigned(href)
        root = self.root(sensor)
        if not root.folder:
            raise InputError(f"{root.entry}: href {href!r} is no URL, and an API has no folder")
        path = _inside(root.folder, Path(base or root.folder) / _local(href), href)
        return path.relative_to(root.folder).as_posix()

    def resolve(self, sensor: str, href: str) -> str:
        """Return what to open for a stored href: a URL, or an absolute path of an existing file.

        Raises:
            InputError: The path leaves the catalog's folder, or there is no such file.
        """
        if is_url(href):
            return href
        root = self.root(sensor)
        if root.members:
            from landmark.archives.containers import open_path

            location, inner = root.member(href)
            return open_path(location, inner)
        if not root.folder:
            raise InputError(f"{root.entry}: href {href!r} is no URL, and an API has no folder")
        path = _inside(root.folder, Path(root.folder) / _local(href), href)
        if not path.is_file():
            raise InputError(f"{path}: no such file (href {href!r} of catalog {root.entry})")
        return str(path)

    def locator(self, sensor: str) -> Callable[[str], str]:
        """Return what tells, as `resolve`, where hrefs are, but not that files are there.

        For whoever opens them at once and sees then: an archive has a file a band and patch, and
        to look for one takes half as long as to read it. It looks for those of other places than
        one archive's folder.
        """
        from landmark.archives.containers import folder_path

        root = self.root(sensor)
        look, folders = partial(self.resolve, sensor), root.folders
        if not folders:
            return look

        def locate(href: str) -> str:
            if "://" in href:
                return look(href)
            location, inner = root.member(href)
            return folder_path(location, inner) if location in folders else look(href)

        return locate

    def label_path(self, text: str) -> Path:
        """Return the path of a label file; `sandbox:` starts a path inside the sandbox.

        Raises:
            InputError: There is no such file, or the manifest has no sandbox.
        """
        if not text.startswith(SANDBOX_PREFIX):
            path = Path(text)
        elif self.sandbox is None:
            raise InputError(f"{text}: no catalog of this manifest is the sandbox")
        else:
            inner = text.removeprefix(SANDBOX_PREFIX)
            path = _inside(self.sandbox, Path(self.sandbox) / inner, text)
        if not path.exists():
            raise InputError(f"{text}: no such file")
        return path


def open_roots(manifest: Manifest, dataset: Dataset, progress: Progress | None = None) -> Roots:
    """Return where the manifest's catalogs lie; writes the sandbox if it is asked for and absent.

    Raises:
        InputError: A catalog's file or folder is missing.
    """
    catalogs = manifest.catalogs()
    sandbox = _open_sandbox(manifest, dataset, progress or Silent())
    roots = {}
    for sensor, catalog in catalogs.items():
        if catalog.kind == "archive":
            roots[sensor] = _open_archives(catalog, dataset, progress or Silent())
            continue
        field = "catalog" if catalog is manifest.catalog else f"{sensor}.catalog"
        root = _open_root(catalog, sandbox, field)
        roots[sensor] = replace(root, access=_access(manifest, sensor, catalog))
    return Roots(
        s1=roots.get("s1"),
        s2=roots.get("s2"),
        sandbox=None if sandbox is None else str(sandbox.parent),
    )


def _access(manifest: Manifest, sensor: str, catalog: Catalog) -> Access:
    """Return how a catalog's files are opened: as the manifest says, else as the provider knows."""
    from landmark.providers import provider

    if catalog.access is not None:
        return Access(**catalog.access.model_dump())
    source = manifest.s1 if sensor == "s1" else manifest.s2
    assert source is not None
    return provider(source.provider, (catalog.href or "") if catalog.kind == "api" else "").access


def label_access(catalog: LabelCatalog | None) -> Access:
    """Return how a label catalog's files are opened: as it says, else as the provider knows.

    Raises:
        InputError: There is no such provider.
    """
    from landmark.providers import provider

    if catalog is None:
        return NO_ACCESS
    if catalog.access is not None:
        return Access(**catalog.access.model_dump())
    return provider(catalog.provider, catalog.href if catalog.kind == "api" else "").access


def is_url(href: str) -> bool:
    """Tell whether an href is a remote URL."""
    return "://" in href and href.split("://", 1)[0].lower() in _SCHEMES


def unsigned(url: str) -> str:
    """Return a URL without user information, and without its query where that holds a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    keys = {key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = "" if keys & _SECRET_KEYS else parts.query
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _open_sandbox(manifest: Manifest, dataset: Dataset, progress: Progress) -> Path | None:
    """Return the sandbox's catalog file, or None where no catalog is the sandbox."""
    sizes = {c.size for c in manifest.catalogs().values() if c.kind == "sandbox"}
    if not sizes:
        return None
    if len(sizes) > 1:
        raise InputError("catalog.size: s1 and s2 ask for sandboxes of different size; give one")
    from landmark.sandbox import ensure_sandbox

    folder = dataset.cache.absolute() / "sandbox"
    return ensure_sandbox(folder, sizes.pop(), manifest.seed, progress).absolute()


def _open_root(catalog: Catalog, sandbox: Path | None, field: str) -> Root:
    if catalog.kind == "sandbox":
        assert sandbox is not None
        return Root("sandbox", str(sandbox), str(sandbox.parent))
    href = catalog.href
    assert href is not None
    if catalog.kind == "api":
        if urlsplit(href).scheme not in ("http", "https"):
            raise InputError(f"{field}.href: {href!r} is no http(s) URL of a STAC API")
        return Root("api", href, "")
    if is_url(href):
        raise InputError(f"{field}.href: {unsigned(href)}: kind {catalog.kind} reads files, no URL")
    path = _normal(Path(_local(href)).absolute())
    if path.is_dir():
        names = [path / "catalog.json", path / "collection.json"]
        path = next((name for name in names if name.is_file()), names[0])
    if not path.is_file():
        raise InputError(f"{field}.href: {path}: no such file")
    return Root("local", str(path), str(path.parent))


def _open_archives(catalog: Catalog, dataset: Dataset, progress: Progress) -> Root:
    """Return where a catalog's archives lie; downloads and unpacks what is not there yet.

    Raises:
        MissingArchivesError: Some are not where the manifest says; it says how each is had.
    """
    from landmark.archives import about
    from landmark.archives.about import Missing, MissingArchivesError
    from landmark.archives.downloads import download
    from landmark.archives.unpacking import unpacked

    cache = dataset.cache.absolute() / "archives"
    members, missing = [], []
    for name, settings in catalog.members().items():
        if is_url(settings.href):
            path = download(settings, cache, progress)
        else:
            path = _normal(Path(_local(settings.href)).absolute())
        if about(settings.format).hdf5:
            path = unpacked(path, cache, progress)
        members.append((name, str(path)))
        if not path.exists():
            missing.append(Missing(name or settings.format, str(path), about(settings.format)))
    if missing:
        raise MissingArchivesError(tuple(missing))
    entry = ", ".join(path for _, path in members)
    return Root(
        "archive", entry, members[0][1] if len(members) == 1 else "", members=tuple(members)
    )


def _normal(path: Path) -> Path:
    """Return a path without `..`. Links are not followed: a catalog may lie on a linked disk."""
    return Path(os.path.normpath(path))


def _local(href: str) -> str:
    if href.startswith("file://"):
        return unquote(urlsplit(href).path)
    if "://" in href:
        raise InputError(f"href {href!r}: unknown scheme; known are {', '.join(_SCHEMES)}, file")
    return href


def _inside(folder: str, path: Path, href: str) -> Path:
    normal = _normal(path)
    if not normal.is_relative_to(folder):
        raise InputError(f"href {href!r} leaves the catalog's folder {folder}")
    return normal
