"""Reader of CaBuAr: Sentinel-2 before and after Californian wildfires, with burn masks, in HDF5.

    512x512.hdf5, chabud_test.h5     /<uuid>_<n>/{post_fire, pre_fire?, mask}, attribute fold
    california_<n>.hdf5              /<fold>/<uuid>/{post_fire, pre_fire?, mask}: whole 20 m tiles

Images are (rows, columns, 12) uint16 at 20 m, masks 1 = burned by this fire. The archive states
neither place nor date: the manifest has to give both (`nominal_place`, `nominal_date`), and every
patch says that they are nominal. `fold` is 0..4, or the text `chabud` for the challenge's test
images; in the split of the common loaders 0 is val, 1..4 train, chabud test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from landmark import hdf5
from landmark.archive_settings import NominalPlace
from landmark.archives.about import About
from landmark.archives.reading import ArchiveImage, Request, refuse_repeats, settle_offset, spread
from landmark.archives.tiles import SAMPLES
from landmark.digits import whole_number
from landmark.errors import InputError
from landmark.grid import SIZE_M
from landmark.manifest import S2_BANDS
from landmark.sampling import frame_base
from landmark.scenes import BandAsset, Scene, SceneEvent, SourceGrid

PROVIDER = "cabuar"
ABOUT = About(
    title="CaBuAr (California burned areas)",
    licence="OPENRAIL",
    source="https://huggingface.co/datasets/DarthReca/california_burned_areas",
    size="about 5.6 GB as arrays (424 pairs of 512 x 512 x 12, computed)",
    hdf5=True,
)
_RESOLUTION_M = 20.0
_FOLDERS = ("", "raw/patched", "raw", "patched")
_IMAGES = ("pre_fire", "post_fire")
_MEMBERS = frozenset({*_IMAGES, "mask"})
_TEST_FOLD = "chabud"
#: Nothing of the nominal layout may look like neighbours: ten patches lie between two tiles.
_GAP_M = 10 * SIZE_M
#: Eastings a UTM zone's lattice runs to, m.
_EAST_M = 820_000.0


@dataclass(frozen=True)
class _Tile:
    """One tile before and after a fire.

    Attributes:
        file: HDF5 file, relative to the archive.
        group: Group inside it.
        fold: As stated.
        images: Members of `_IMAGES` it holds.
        shape: Rows and columns.
        comments: The quality comments the archive gives the image, or "".
    """

    file: str
    group: str
    fold: int | str
    images: tuple[str, ...]
    shape: tuple[int, int]
    comments: str

    @property
    def name(self) -> str:
        """Name of the tile."""
        return self.group.rpartition("/")[2]

    @property
    def split(self) -> str:
        """The common loaders' split, in our words."""
        if self.fold == _TEST_FOLD:
            return "corpus"
        return "val" if self.fold == 0 else "train"


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield the image after each fire, and the one before it where there is one.

    Raises:
        InputError: There is no HDF5 file of this layout, the manifest gives no nominal place, or
            a tile is not what the layout says.
    """
    if "s2" not in request.sensors:
        return
    place = request.settings.nominal_place
    if place is None:
        raise InputError(
            f"{request.origin}: CaBuAr states no place of its tiles; set nominal_place of this "
            "archive in the manifest (it is recorded as nominal)"
        )
    tiles = sorted(_tiles(request), key=lambda tile: tile.name)
    if not tiles:
        raise InputError(f"{request.origin}: holds no CaBuAr file (512x512.hdf5, chabud_test.h5)")
    refuse_repeats((tile.name for tile in tiles), request.origin)
    corners = _corners(place, tiles)
    scenes = [
        _scene(request, tile, image, place.epsg, corner)
        for tile, corner in zip(tiles, corners, strict=True)
        for image in tile.images
        if request.wants("s2", f"{tile.name}_{image}", "")
    ]
    evidence = settle_offset(request, spread(scenes, SAMPLES), ABOUT.title) if scenes else ""
    for scene in scenes:
        yield ArchiveImage(replace(scene, offset_evidence=evidence), None)


def _tiles(request: Request) -> Iterator[_Tile]:
    for folder in _FOLDERS:
        names = [n for n in request.files.names(folder) if n.lower().endswith((".hdf5", ".h5"))]
        for name in names:
            path = f"{folder}/{name}" if folder else name
            with hdf5.open_file(request.hdf5(path)) as file:
                for key in file:
                    group = hdf5.member(file, key, f"{request.origin}/{path}")
                    if _MEMBERS & set(group):
                        yield _tile(request, path, key, group, hdf5.attribute(group, "fold"))
                        continue
                    for inner in group:
                        own = hdf5.member(group, inner, f"{request.origin}/{path}")
                        yield _tile(request, path, f"{key}/{inner}", own, key)


def _tile(request: Request, file: str, group: str, node: Any, fold: Any) -> _Tile:
    origin = f"{request.origin}/{file}: {group}"
    unknown = sorted(set(node) - _MEMBERS)
    if unknown:
        raise InputError(f"{origin}: holds {unknown[0]!r}, which CaBuAr does not have")
    images = tuple(name for name in _IMAGES if name in node)
    if "post_fire" not in images or "mask" not in node:
        raise InputError(f"{origin}: lacks {'mask' if 'mask' not in node else 'post_fire'}")
    shape = hdf5.shape_of(node["post_fire"])
    for name in images:
        own = hdf5.shape_of(node[name])
        if len(own) != 3 or own[2] != len(S2_BANDS) or own[:2] != shape[:2]:
            raise InputError(f"{origin}: {name} has shape {own}, not rows x columns x 12")
    if hdf5.shape_of(node["mask"])[:2] != shape[:2]:
        raise InputError(f"{origin}: mask and images differ in size")
    if isinstance(fold, str) and (number := whole_number(fold)) is not None:
        fold = number
    if fold != _TEST_FOLD and not (isinstance(fold, int) and 0 <= fold <= 4):
        raise InputError(f"{origin}: fold is {fold!r}, not 0..4 or {_TEST_FOLD!r}")
    comments = hdf5.attribute(node["post_fire"], "comments")
    return _Tile(file, group, fold, images, (shape[0], shape[1]), str(comments or ""))


def _corners(place: NominalPlace, tiles: list[_Tile]) -> list[tuple[float, float]]:
    """Return the nominal corner of each tile: rows of tiles with gaps, from the place on."""
    side = max(max(tile.shape) for tile in tiles) * _RESOLUTION_M
    step = -(-side // SIZE_M) * SIZE_M + _GAP_M
    across = max(1, int((_EAST_M - place.x_min) // step))
    return [
        (place.x_min + (k % across) * step, place.y_max - (k // across) * step)
        for k in range(len(tiles))
    ]


def _scene(
    request: Request, tile: _Tile, image: str, epsg: int, corner: tuple[float, float]
) -> Scene:
    files = request.files
    time, notes = request.date("", tile.name)
    after = image == "post_fire"
    order = {band: index for index, band in enumerate(S2_BANDS, start=1)}
    href = f"{files.href(tile.file)}#{tile.group}"
    x, y = corner
    return Scene(
        sensor="s2",
        provider=PROVIDER,
        collection="CaBuAr",
        item=frame_base(f"{tile.name}_{image}"),
        platform="S2",
        time=time,
        bands=tuple(BandAsset(b, f"{href}/{image}", order[b]) for b in request.bands("s2")),
        unit="dn",
        unit_source="archive",
        quantity="reflectance",
        nodata=0,
        licence=request.licence("s2", ABOUT.licence),
        grid=SourceGrid(
            epsg, (_RESOLUTION_M, 0.0, x, 0.0, -_RESOLUTION_M, y), tile.shape[1], tile.shape[0]
        ),
        reference=BandAsset("mask", f"{href}/mask") if after else None,
        tags=() if after else ("pre-fire",),
        tags_level="" if after else "tile",
        event=SceneEvent("fire", tile.name, phase="after" if after else "before"),
        split=tile.split,
        notes=(
            "place: nominal, the archive states none",
            *notes,
            f"fold: {tile.fold}",
            *((f"comments: {tile.comments}",) if tile.comments and after else ()),
        ),
    )
