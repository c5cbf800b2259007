"""Where an archive's files lie: a folder, a zip or a tar file, read in place.

A container answers three questions for readers (which names there are, what a small file holds,
how a band file is called in the plan), and `open_path` turns what the plan stores into what GDAL
opens. Names come from strangers: one that would leave the archive refuses the whole container.

A member of a zip is opened through GDAL's /vsizip/. A member of a tar is stored as offset and
size (`name#at=512,1024`) and opened through /vsisubfile/, so that no reader has to walk through
100 GB of tar to find one band; so is an HDF5 file that a zip holds uncompressed. HDF5 files that
a zip compresses are unpacked to the dataset's cache before anything is opened
(`landmark.archives.unpacking`). Compressed tar files cannot be read in place.
"""

from __future__ import annotations

import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from landmark.errors import InputError
from landmark.hdf5 import SUFFIXES
from landmark.subfiles import subfile_path

_AT = "#at="
_EXTENT = re.compile(r"[^#]+#at=(?P<offset>\d+),(?P<size>\d+)(?P<inner>#.*)?", re.DOTALL)
_ZIPPED = re.compile(r"/vsizip/\{(?P<file>[^}]+)\}/.+", re.DOTALL)
_ZIP, _TAR = (".zip",), (".tar",)
#: What cannot be read in place, and the parts that publishers split large files into
#: (`BigEarthNet-S1.tar.gzaa`, `activations.tar.000.gz.part`).
_PACKED = re.compile(r"\.(gz|tgz|zst|xz|bz2|7z|rar|gz[a-z]{2}|part)$", re.IGNORECASE)
#: A local header of a zip file: its signature, and the bytes before name and extra field.
_ZIP_HEAD, _ZIP_HEAD_BYTES = b"PK\x03\x04", 30
#: A table or list of an archive that is read whole; larger members are band files.
_WHOLE_BYTES = 2 << 30
_PIECE = 1 << 20


class Container(Protocol):
    """The files of one archive."""

    @property
    def origin(self) -> str:
        """How errors call it."""

    def names(self, folder: str = "") -> list[str]:
        """Return the names directly inside a folder, sorted; none where there is no such folder."""

    def is_file(self, name: str) -> bool:
        """Return whether the archive holds this file."""

    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            InputError: There is no such file.
        """

    def href(self, name: str) -> str:
        """Return what the plan calls a file."""


@dataclass(frozen=True)
class Folder:
    """An archive unpacked into a folder."""

    root: Path

    @property
    def origin(self) -> str:
        """How errors call it."""
        return str(self.root)

    def names(self, folder: str = "") -> list[str]:
        """Return the names directly inside a folder, sorted."""
        path = self.root / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def is_file(self, name: str) -> bool:
        """Return whether the archive holds this file."""
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        try:
            return (self.root / name).read_bytes()
        except OSError:
            raise InputError(f"{self.root}: holds no {name}") from None

    def href(self, name: str) -> str:
        """Return what the plan calls a file: its name."""
        return name


@dataclass(frozen=True)
class _Packed:
    """What zip and tar files share: an index of member names, below one common folder."""

    path: Path

    @property
    def origin(self) -> str:
        """How errors call it."""
        return str(self.path)

    @cached_property
    def _members(self) -> dict[str, str]:
        raise NotImplementedError

    @cached_property
    def _tree(self) -> dict[str, set[str]]:
        tree: dict[str, set[str]] = {}
        for name in self._members:
            parts = name.split("/")
            for depth in range(len(parts)):
                tree.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
        return tree

    def names(self, folder: str = "") -> list[str]:
        """Return the names directly inside a folder, sorted."""
        return sorted(self._tree.get(folder.strip("/"), ()))

    def is_file(self, name: str) -> bool:
        """Return whether the archive holds this file."""
        return name in self._members

    def _member(self, name: str) -> str:
        try:
            return self._members[name]
        except KeyError:
            raise InputError(f"{self.path}: holds no {name}") from None


@dataclass(frozen=True)
class Zip(_Packed):
    """A zip file."""

    @cached_property
    def _members(self) -> dict[str, str]:
        try:
            with zipfile.ZipFile(self.path) as file:
                infos = [info for info in file.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{self.path}: is no whole zip file ({error})") from None
        secret = next((info.filename for info in infos if info.flag_bits & 1), None)
        if secret is not None:
            raise InputError(f"{self.path}: {secret} is encrypted; unpack it and name its folder")
        return _below_common_folder(self.path, [info.filename for info in infos])

    @cached_property
    def hdf5_members(self) -> dict[str, zipfile.ZipInfo]:
        """Name -> entry of the HDF5 files."""
        names = [name for name in self._members if name.lower().endswith(SUFFIXES)]
        with zipfile.ZipFile(self.path) as file:
            return {name: file.getinfo(self._members[name]) for name in names}

    @property
    def unpacked_bytes(self) -> int:
        """Size of all its files, unpacked."""
        with zipfile.ZipFile(self.path) as file:
            return sum(info.file_size for info in file.infolist())

    @cached_property
    def _extents(self) -> dict[str, str]:
        """Name -> `offset,size` of the HDF5 files that are not compressed."""
        stored = zipfile.ZIP_STORED
        with self.path.open("rb") as stream:
            return {
                name: f"{_data_offset(stream, info, str(self.path))},{info.file_size}"
                for name, info in self.hdf5_members.items()
                if info.compress_type == stored
            }

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        member = self._member(name)
        try:
            with zipfile.ZipFile(self.path) as file:
                if file.getinfo(member).file_size > _WHOLE_BYTES:
                    raise InputError(f"{self.path}: {name} is too large to be read whole")
                return file.read(member)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{self.path}: {name} cannot be read ({error})") from None

    def href(self, name: str) -> str:
        """Return what the plan calls a file: its member name, and offset and size of an HDF5 file.

        Raises:
            InputError: It is an HDF5 file that is compressed.
        """
        member = self._members.get(name, name)
        if not name.lower().endswith(SUFFIXES) or name not in self._members:
            return member
        if name not in self._extents:
            raise InputError(
                f"{self.path}: {name} is an HDF5 file compressed inside the zip, which cannot be "
                "read in place; unpack it and name its folder"
            )
        return f"{member}{_AT}{self._extents[name]}"

    def unpack(self, folder: Path, advance: Callable[[int], None]) -> None:
        """Write all members below a folder, each checked by its CRC.

        Args:
            folder: Where; it exists.
            advance: Told of bytes written.

        Raises:
            InputError: A member is damaged.
        """
        name = ""
        try:
            with zipfile.ZipFile(self.path) as file:
                for name, member in self._members.items():
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with file.open(member) as source, path.open("wb") as target:
                        while piece := source.read(_PIECE):
                            target.write(piece)
                            advance(len(piece))
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
            raise InputError(f"{self.path}: {name} cannot be unpacked ({error})") from None


@dataclass(frozen=True)
class Tar(_Packed):
    """A tar file that is not compressed."""

    @cached_property
    def _infos(self) -> dict[str, tarfile.TarInfo]:
        try:
            with tarfile.open(self.path, "r:") as file:
                return {info.name.removeprefix("./"): info for info in file if info.isreg()}
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"{self.path}: is no whole tar file ({error})") from None

    @cached_property
    def _members(self) -> dict[str, str]:
        return _below_common_folder(self.path, list(self._infos))

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        info = self._infos[self._member(name)]
        if info.size > _WHOLE_BYTES:
            raise InputError(f"{self.path}: {name} is too large to be read whole")
        with self.path.open("rb") as stream:
            stream.seek(info.offset_data)
            data = stream.read(info.size)
        if len(data) != info.size:
            raise InputError(f"{self.path}: is cut off inside {name}")
        return data

    def href(self, name: str) -> str:
        """Return what the plan calls a file: its member name, offset and size."""
        member = self._members.get(name)
        if member is None:
            return name
        info = self._infos[member]
        return f"{member}{_AT}{info.offset_data},{info.size}"


def open_container(path: Path) -> Container:
    """Return the container of a folder, a zip or a tar file (or the folder of any other file).

    Raises:
        InputError: It does not exist, or is packed in a form that cannot be read in place.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such archive (a folder, a .zip or a .tar file)")
    suffix = path.suffix.lower()
    if suffix in _ZIP:
        return Zip(path)
    if suffix in _TAR:
        return Tar(path)
    if _PACKED.search(path.name):
        raise InputError(
            f"{path}: a {suffix} file cannot be read in place; join its parts where it has some, "
            "unpack it (or only decompress a .tar) and name that"
        )
    return Folder(path.parent)


def open_path(location: str, href: str) -> str:
    """Return what GDAL (or the HDF5 reader) opens for a stored href of an archive.

    Args:
        location: The archive's folder or file, absolute.
        href: As the plan stores it.

    Raises:
        InputError: The href leaves the archive, or its file does not exist.
    """
    # Plain strings: of a tar file this runs once per band file of every patch.
    suffix = location[location.rfind(".") :].lower()
    file, hash_mark, inner = href.partition("#")
    _check_member(location, href)
    if suffix in (*_TAR, *_ZIP) and os.path.isfile(location):  # noqa: PTH113
        return _packed_path(location, href, zipped=suffix in _ZIP)
    path = f"{location}/{file}"
    if not os.path.isfile(path):  # noqa: PTH113
        beside = Path(location).parent / file
        if not Path(location).is_file() or not beside.is_file():
            raise InputError(f"{path}: no such file")
        path = str(beside)
    return f"{path}{hash_mark}{inner}"


def folder_path(location: str, href: str) -> str:
    """Return what an href names in an archive's folder, whether or not it is there.

    Raises:
        InputError: The href leaves the archive.
    """
    # Plain strings: this runs once per band file of every patch.
    _check_member(location, href)
    return f"{location}/{href}"


def zip_of(path: str) -> str | None:
    """Return the zip file that holds what `open_path` returned, or None."""
    found = _ZIPPED.fullmatch(path)
    return None if found is None else found["file"]


def _packed_path(location: str, href: str, *, zipped: bool) -> str:
    found = _EXTENT.fullmatch(href)
    if found is not None:
        part = subfile_path(location, int(found["offset"]), int(found["size"]))
        return f"{part}{found['inner'] or ''}"
    if not zipped or "#" in href:
        raise InputError(f"{location}: holds no {href.partition('#')[0]}")
    return f"/vsizip/{{{location}}}/{href}"


def _data_offset(stream: BinaryIO, info: zipfile.ZipInfo, origin: str) -> int:
    """Return where the bytes of a member begin, which only its local header tells."""
    stream.seek(info.header_offset)
    head = stream.read(_ZIP_HEAD_BYTES)
    if len(head) != _ZIP_HEAD_BYTES or not head.startswith(_ZIP_HEAD):
        raise InputError(f"{origin}: is no whole zip file (no header of {info.filename})")
    name, extra = struct.unpack("<HH", head[-4:])
    return info.header_offset + _ZIP_HEAD_BYTES + int(name) + int(extra)


def _below_common_folder(path: Path, members: Iterable[str]) -> dict[str, str]:
    """Return name below the folder that all members share -> member name."""
    found: dict[str, str] = {}
    for member in members:
        _check_member(str(path), member)
        name = str(PurePosixPath(member))
        if name in found:
            raise InputError(f"{path}: holds {name} twice; pack it again")
        found[name] = member
    while found:
        tops = {name.partition("/")[0] for name in found}
        if len(tops) != 1 or any("/" not in name for name in found):
            break
        top = f"{tops.pop()}/"
        found = {name.removeprefix(top): member for name, member in found.items()}
    return found


def _check_member(origin: str, name: str) -> None:
    if name and name[0] not in "/\\" and ".." not in name and "\0" not in name:
        return  # most names, without taking them apart
    parts = name.replace("\\", "/").split("/")
    if not name or parts[0] == "" or ".." in parts or "\0" in name:
        raise InputError(f"{origin}: member {name!r} would leave the archive; it is not opened")
