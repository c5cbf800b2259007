"""Manifests as files: reading with errors that name the line, writing resolved, comparing."""

from __future__ import annotations

import difflib
import functools
import re
import types
import typing
import urllib.parse
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from landmark import strict_yaml
from landmark.errors import InputError
from landmark.manifest import Manifest

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_SANDBOX = "sandbox:"
# Query parameters that carry credentials (signed Azure and S3 links, API keys).
_SECRET_PARAMETERS = frozenset(
    {"sig", "token", "access_token", "api_key", "apikey", "subscription-key", "x-amz-signature"}
)


def builtin_names() -> tuple[str, ...]:
    """Return the names of the manifests shipped with landmark."""
    folder = resources.files("manifests")
    return tuple(
        sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
    )


def load_manifest(name_or_path: str, *, check_files: bool = False) -> Manifest:
    """Read a manifest.

    An existing file, or anything with a suffix or a slash, is a path; all else is the name of a
    built-in manifest. Relative local paths in a file are made absolute against its folder, those
    of a built-in manifest against the current one.

    Args:
        name_or_path: Built-in name or file.
        check_files: Also require that the local files it names exist (before a fetch; a dataset
            that was moved to another machine may be searched without its sources).

    Raises:
        InputError: One line naming file, line, field, what is wrong and what to do.
    """
    path = _locate(name_or_path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name_or_path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name_or_path}: is not UTF-8 text: a manifest is a YAML file") from None
    origin = name_or_path if path == Path(name_or_path) else path.name
    folder = path.absolute().parent
    if folder == Path(str(resources.files("manifests"))):
        folder = Path.cwd()
    return parse_manifest(text, origin, folder, check_files=check_files)


def parse_manifest(text: str, origin: str, folder: Path, *, check_files: bool = False) -> Manifest:
    """Return the manifest a YAML text holds.

    Args:
        text: The YAML text.
        origin: How errors call the file.
        folder: What relative paths in it count from.
        check_files: Also require that the local files it names exist.

    Raises:
        InputError: As `load_manifest`.
    """
    manifest, document = _parsed(text, origin, folder)
    if check_files:
        _check_files(manifest, document, origin)
    return manifest


# Each task of a fetch reads the dataset's manifest, and parsing takes as long as some 30 patches.
@functools.lru_cache(maxsize=4)
def _parsed(text: str, origin: str, folder: Path) -> tuple[Manifest, strict_yaml.Document]:
    document = strict_yaml.parse(text, origin)
    if not isinstance(document.value, dict):
        raise InputError(f"{origin}: holds no manifest: write `name:`, `catalog:`, `s2:` and so on")
    try:
        manifest = Manifest.model_validate(document.value)
    except ValidationError as error:
        raise InputError(_describe(error, document, origin)) from None
    for place, href in _hrefs(manifest):
        _refuse_secrets(href, f"{origin}:{document.line(place)}: {strict_yaml.path_text(place)}")
    return _absolute(manifest, folder), document


def dump_manifest(manifest: Manifest) -> str:
    """Return a manifest as YAML with every default explicit; equal manifests give equal text."""
    return yaml.dump(
        _plain(manifest.model_dump()),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )


def diff(a: Manifest, b: Manifest) -> list[str]:
    """Return the places where two manifests differ, such as `s2.bands`, in manifest order."""
    return list(_differences(a.model_dump(), b.model_dump(), ()))


class _Dumper(yaml.SafeDumper):
    """Writes U+0085 escaped: plain, as PyYAML would, it is read back as a line break."""

    def analyze_scalar(self, scalar: str) -> Any:
        analysis = super().analyze_scalar(scalar)
        if "\x85" in scalar:
            analysis.allow_flow_plain = analysis.allow_block_plain = False
            analysis.allow_single_quoted = analysis.allow_block = False
        return analysis


def _locate(name_or_path: str) -> Path:
    path = Path(name_or_path)
    shown = name_or_path if name_or_path.isprintable() and name_or_path else repr(name_or_path)
    try:
        if path.is_file():
            return path
        if path.suffix or "/" in name_or_path:
            reason = "is a folder, not a manifest file" if path.is_dir() else "no such manifest"
            raise InputError(f"{shown}: {reason}")
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}") from None
    names = builtin_names()
    if name_or_path not in names:
        raise InputError(
            f"{shown}: no such built-in manifest{_suggest(name_or_path, names)}; built in: "
            f"{', '.join(names)} (a file of your own is given with its suffix, as my.yaml)"
        )
    return Path(str(resources.files("manifests") / f"{name_or_path}.yaml"))


def _describe(error: ValidationError, document: strict_yaml.Document, origin: str) -> str:
    # A misspelt key often makes the right one "missing": the unknown key is the cause.
    faults = sorted(
        error.errors(include_url=False),
        key=lambda e: (e["type"] != "extra_forbidden", document.line(e["loc"])),
    )
    fault = faults[0]
    path: strict_yaml.Path = fault["loc"]
    field = strict_yaml.path_text(path) or "manifest"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{origin}:{document.line(path)}: {field}: {_reason(fault, path)}{more}"


def _reason(fault: Any, path: strict_yaml.Path) -> str:
    kind, message, given = fault["type"], str(fault["msg"]), fault["input"]
    if kind == "extra_forbidden":
        valid = _fields_at(path[:-1])
        return f"unknown key{_suggest(str(path[-1]), valid)}; valid here: {', '.join(valid)}"
    if kind == "missing":
        return "is needed, but missing"
    if kind == "value_error":
        return " ".join(message.removeprefix("Value error, ").split())
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    if given is None:
        shown = ", not empty"
    text = message.replace("Input should be", "should be").replace("Input ", "")
    if kind == "string_type" and not isinstance(given, dict | list | type(None)):
        text = "should be text: put it in quotes"
    if kind == "literal_error" and isinstance(given, str):
        shown += _suggest(given, re.findall(r"'([^']*)'", message))
    return f"{text}{shown}"


def _suggest(word: str, choices: typing.Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lower(), [c.lower() for c in choices], n=1, cutoff=0.6)
    if not near:
        return ""
    found = next(choice for choice in choices if choice.lower() == near[0])
    return f" (did you mean {found!r}?)"


def _fields_at(path: strict_yaml.Path) -> list[str]:
    """Return the keys the model at a place of the manifest allows."""
    annotation: Any = Manifest
    for part in path:
        model = _model_in(annotation)
        if isinstance(part, str) and model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
    model = _model_in(annotation)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        model = _model_in(argument)
        if model is not None:
            return model
    return None


def _hrefs(manifest: Manifest) -> Iterator[tuple[strict_yaml.Path, str]]:
    """Yield every place of a manifest that names a file, folder or URL, and what it names."""
    for place, catalog in (
        (("catalog",), manifest.catalog),
        (("s1", "catalog"), manifest.s1.catalog if manifest.s1 else None),
        (("s2", "catalog"), manifest.s2.catalog if manifest.s2 else None),
    ):
        if catalog is not None and catalog.href is not None:
            yield (*place, "href"), catalog.href
        for i, archive in enumerate(catalog.archives if catalog is not None else ()):
            yield (*place, "archives", i, "href"), archive.href
    if manifest.area is not None and manifest.area.file is not None:
        yield ("area", "file"), manifest.area.file
    sampling = manifest.sampling
    if sampling.cells_file is not None:
        yield ("sampling", "cells_file"), sampling.cells_file
    for i, around in enumerate(sampling.events):
        yield ("sampling", "events", i, "file"), around.file
    if sampling.strata is not None:
        for j, raster in enumerate(sampling.strata.rasters):
            yield ("sampling", "strata", "rasters", j), raster
    for i, region in enumerate(manifest.splits.hold_out.regions):
        if region.file is not None:
            yield ("splits", "hold_out", "regions", i, "file"), region.file
    for i, source in enumerate(manifest.labels):
        for j, raster in enumerate(source.rasters):
            yield ("labels", i, "rasters", j), raster
        if source.catalog is not None:
            yield ("labels", i, "catalog", "href"), source.catalog.href
        if source.crosswalk is not None and _is_file_name(source.crosswalk):
            yield ("labels", i, "crosswalk"), source.crosswalk
    for i, event in enumerate(manifest.events):
        yield ("events", i, "file"), event.file
        if event.analysed is not None:
            yield ("events", i, "analysed"), event.analysed
        if event.permanent_water is not None:
            yield ("events", i, "permanent_water"), event.permanent_water


def _is_file_name(crosswalk: str) -> bool:
    return bool(Path(crosswalk).suffix) or "/" in crosswalk


def _is_local(href: str) -> bool:
    return not href.startswith(_SANDBOX) and not _URL.match(href)


def _absolute(manifest: Manifest, folder: Path) -> Manifest:
    raw = manifest.model_dump()
    for place, href in _hrefs(manifest):
        if _is_local(href):
            holder: Any = raw
            for part in place[:-1]:
                # Tuples of the dump cannot be changed in place: swap in a list first.
                if isinstance(holder[part], tuple):
                    holder[part] = list(holder[part])
                holder = holder[part]
            holder[place[-1]] = str(folder / href)
    return Manifest.model_validate(raw)


def _check_files(manifest: Manifest, document: strict_yaml.Document, origin: str) -> None:
    # Missing archives are told of when they are opened, with where to get them.
    later = [a.href for c in manifest.catalogs().values() for a in c.members().values()]
    for place, href in _hrefs(manifest):
        if href in later and "catalog" in place:
            continue
        try:
            found = not _is_local(href) or Path(href).exists()
        except (OSError, ValueError):
            found = False
        if not found:
            raise InputError(
                f"{origin}:{document.line(place)}: {strict_yaml.path_text(place)}: no such file "
                f"or folder: {href!r}"
            )


def _refuse_secrets(href: str, where: str) -> None:
    if not _URL.match(href):
        return
    try:
        parts = urllib.parse.urlsplit(href)
    except ValueError as error:
        raise InputError(f"{where}: not a valid URL: {error}") from None
    names = {name.lower() for name, _ in urllib.parse.parse_qsl(parts.query)}
    if "@" in parts.netloc or names & _SECRET_PARAMETERS:
        raise InputError(
            f"{where}: holds credentials: give them in the environment or .netrc, the manifest is "
            "copied into the dataset"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _differences(a: Any, b: Any, path: strict_yaml.Path) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            yield from _differences(a.get(key), b.get(key), (*path, key))
    elif (
        isinstance(a, list | tuple)
        and isinstance(b, list | tuple)
        and len(a) == len(b)
        and any(isinstance(item, dict) for item in (*a, *b))
    ):
        for i, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _differences(left, right, (*path, i))
    elif a != b:
        yield strict_yaml.path_text(path)
