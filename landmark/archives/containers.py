"""Where an archive's files lie: a folder, a zip or a tar file, read in place.

A container answers three questions for readers (which names there are, what a small file holds,
how a band file is called in the plan), and `open_path` turns what the plan stores into what GDAL
opens. Names come from strangers: one that would leave the archive refuses the whole container.

A member of a zip is opened through GDAL's /vsizip/. A member of a tar is stored as offset and
size (`name#tar=512,1024`) and opened through /vsisubfile/, so that no reader has to walk through
100 GB of tar to find one band. Compressed tar files cannot be read in place.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from landmark.errors import InputError

_TAR_MARK = "#tar="
_ZIP, _TAR = (".zip",), (".tar",)
_PACKED = (".gz", ".tgz", ".zst", ".xz", ".bz2", ".7z", ".rar")
#: A table or list of an archive that is read whole; larger members are band files.
_WHOLE_BYTES = 2 << 30


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

    def local(self, name: str) -> Path:
        """Return a file of this machine, for readers that need one (HDF5).

        Raises:
            InputError: The archive is no folder, or holds no such file.
        """


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

    def local(self, name: str) -> Path:
        """Return a file of the folder."""
        path = self.root / name
        if not path.is_file():
            raise InputError(f"{self.root}: holds no {name}")
        return path


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

    def local(self, name: str) -> Path:
        """Refuse: HDF5 files are read from folders only."""
        raise InputError(
            f"{self.path}: {name} is an HDF5 file, which is not read inside a packed file; unpack "
            "it and name its folder"
        )

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
        return _below_common_folder(self.path, [info.filename for info in infos])

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
        """Return what the plan calls a file: its member name."""
        return self._members.get(name, name)


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
        return f"{member}{_TAR_MARK}{info.offset_data},{info.size}"


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
    if suffix in _PACKED:
        raise InputError(
            f"{path}: a {suffix} file cannot be read in place; unpack it (or only decompress a "
            ".tar) and name that"
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
    # Plain strings: this runs once per band file of every patch.
    suffix = location[location.rfind(".") :].lower()
    name, mark, extent = href.partition(_TAR_MARK)
    file, hash_mark, inner = href.partition("#")
    _check_member(location, file)
    packed = suffix in (*_TAR, *_ZIP) and os.path.isfile(location)  # noqa: PTH113
    if packed and suffix in _TAR:
        if not mark or not all(part.isdigit() for part in extent.split(",")):
            raise InputError(f"{location}: holds no {name}")
        offset, size = extent.split(",")
        return f"/vsisubfile/{offset}_{size},{location}"
    if packed:
        return f"/vsizip/{{{location}}}/{name}"
    path = f"{location}/{file}"
    if not os.path.isfile(path):  # noqa: PTH113
        beside = Path(location).parent / file
        if not Path(location).is_file() or not beside.is_file():
            raise InputError(f"{path}: no such file")
        path = str(beside)
    return f"{path}{hash_mark}{inner}"


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
    parts = name.replace("\\", "/").split("/")
    if not name or parts[0] == "" or ".." in parts or "\0" in name:
        raise InputError(f"{origin}: member {name!r} would leave the archive; it is not opened")
