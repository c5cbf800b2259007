"""Published archives as a source of scenes: one module an archive, found by its format's name.

Each module has `ABOUT` (what the archive is and where it is had) and `read_images(request)`, which
reads the archive's own index (a table, a JSON list, the groups of an HDF5 file), not its pixels,
and yields every image as a scene, with the frame of the one patch it is, or without where patches
are cut from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import xxhash

from landmark.archives.about import About
from landmark.archives.containers import open_container
from landmark.archives.hashes import Hashes
from landmark.archives.reading import ArchiveImage, Request
from landmark.errors import InputError
from landmark.grid import check_name
from landmark.manifest import Catalog, Manifest
from landmark.progress import Progress
from landmark.scenes import BandAsset
from landmark.sources import Roots

#: Format -> module that reads it.
MODULES: dict[str, str] = {
    "reben": "landmark.archives.reben",
    "bigearthnet-v1": "landmark.archives.bigearthnet_v1",
    "cabuar": "landmark.archives.cabuar",
    "mmflood": "landmark.archives.mmflood",
    "sen12flood": "landmark.archives.sen12flood",
    "quakeset": "landmark.archives.quakeset",
    "sen1floods11": "landmark.archives.sen1floods11",
    "crisislandmark": "landmark.archives.crisislandmark",
}


def about(archive_format: str) -> About:
    """Return what an archive is and where it is had."""
    found: About = importlib.import_module(MODULES[archive_format]).ABOUT
    return found


def find_images(manifest: Manifest, roots: Roots, progress: Progress) -> Iterator[ArchiveImage]:
    """Yield every image the manifest's archives hold, in the order of their indexes.

    Args:
        manifest: Names the archives; says sensors, bands, time.
        roots: Where they lie.
        progress: Told of what archives list but do not hold.

    Raises:
        InputError: An archive is not what its format says, holds nothing that was asked for, or
            two images would become one patch.
    """
    origins = []
    seen = Hashes()
    for catalog, sensors in _catalogs(manifest):
        locations = dict(roots.root(sensors[0]).members)
        for name, settings in catalog.members().items():
            files = open_container(Path(locations[name]))
            request = Request(files, locations[name], settings, manifest, sensors, progress.note)
            origins.append(files.origin)
            for image in _read(request):
                _refuse_twin(image, seen)
                yield _under(image, name)
    if not len(seen):
        raise InputError(f"archive {', '.join(origins)}: holds no image that was asked for")


def _catalogs(manifest: Manifest) -> Iterator[tuple[Catalog, tuple[str, ...]]]:
    """Yield each distinct catalog with the sensors taken from it."""
    catalogs = manifest.catalogs()
    done: list[Catalog] = []
    for catalog in catalogs.values():
        if catalog not in done:
            done.append(catalog)
            yield catalog, tuple(s for s, other in catalogs.items() if other == catalog)


def _read(request: Request) -> Iterator[ArchiveImage]:
    module = importlib.import_module(MODULES[request.settings.format])
    for image in module.read_images(request):
        if image.frame is not None:
            check_name(image.frame.name, f"archive {request.origin}")
        yield image


def _under(image: ArchiveImage, name: str) -> ArchiveImage:
    """Return an image whose hrefs begin with its archive's name, where there are several."""
    if not name:
        return image
    scene = image.scene

    def move(asset: BandAsset | None) -> BandAsset | None:
        return None if asset is None else replace(asset, href=f"{name}/{asset.href}")

    bands = tuple(replace(asset, href=f"{name}/{asset.href}") for asset in scene.bands)
    return replace(
        image,
        scene=replace(scene, bands=bands, scl=move(scene.scl), reference=move(scene.reference)),
    )


def _refuse_twin(image: ArchiveImage, seen: Hashes) -> None:
    """Refuse an image that would become the same patch as one before it; remember it by a hash."""
    scene = image.scene
    name = image.frame.name if image.frame is not None else scene.item
    key = xxhash.xxh3_64_intdigest(f"{scene.sensor} {scene.time} {name}".encode())
    if not seen.add(key):
        raise InputError(
            f"two images are called {name!r} and of one time; two archives of a manifest must "
            "not hold the same images"
        )
