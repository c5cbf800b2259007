"""What only the files know of a scene: its pixel grid, and whether +1000 is in the pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from landmark import pixels
from landmark.errors import InputError, LandmarkError
from landmark.jobs import map_ahead
from landmark.manifest import Manifest, Sentinel2
from landmark.progress import Progress
from landmark.radiometry import offset_evidence, pixel_offset
from landmark.scenes import UNKNOWN_OFFSET, BandAsset, Scene
from landmark.schema import S2_RESOLUTION
from landmark.sources import Roots, is_url

#: Headers and overviews are waited for, not computed: more readers than cores.
READERS = 8
#: Status of a scene whose files cannot be read.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Completed:
    """A scene with what its files say.

    Attributes:
        scene: Grid, offset and evidence filled in.
        status: `offset` or `unreadable` where the scene is refused, else "".
        reason: Why it is refused.
    """

    scene: Scene
    status: str = ""
    reason: str = ""


def complete_scenes(
    scenes: Iterable[Scene],
    manifest: Manifest,
    roots: Roots,
    progress: Progress,
    *,
    total: int = 0,
) -> Iterator[Completed]:
    """Yield the scenes with header facts and a settled offset, in the order given.

    Args:
        scenes: Taken one by one, a few ahead of what is yielded.
        manifest: The rules for offsets.
        roots: Where the files lie.
        progress: Told of each scene.
        total: How many scenes there are; 0: not known.

    Raises:
        InputError: A local file is missing or cannot be read.
    """
    progress.start("headers", total)
    differing, first = 0, None
    for done in _completed(scenes, manifest, roots):
        if _differs(done.scene):
            differing, first = differing + 1, first or done.scene
        progress.advance(holes=int(done.status == UNREADABLE))
        yield done
    progress.finish()
    if first is not None and first.grid is not None:
        progress.note(
            f"{differing} items state another CRS than their files, which are believed "
            f"(first: {first.item}, EPSG:{first.epsg}, file EPSG:{first.grid.epsg})"
        )


def _completed(scenes: Iterable[Scene], manifest: Manifest, roots: Roots) -> Iterator[Completed]:
    complete = partial(_complete, manifest=manifest, roots=roots)
    for known, some in itertools.groupby(scenes, partial(_is_known, roots=roots)):
        if known:  # threads cost more than they bring where no file has to be waited for
            yield from map(Completed, some)
        else:
            yield from map_ahead(complete, some, READERS)


def _is_known(scene: Scene, roots: Roots) -> bool:
    """Return whether an archive's own index said all there is to know."""
    return scene.grid is not None and roots.root(scene.sensor).kind == "archive"


def _differs(scene: Scene) -> bool:
    return None not in (scene.epsg, scene.grid) and scene.grid.epsg != scene.epsg  # type: ignore[union-attr]


def finest_band(scene: Scene) -> BandAsset:
    """Return the first band of the finest nominal pixel size."""
    return min(scene.bands, key=lambda asset: S2_RESOLUTION.get(asset.band, 10))


def settle_offset(
    scene: Scene, source: Sentinel2, low_percentiles: Callable[[Scene], Mapping[str, float]]
) -> Completed:
    """Return a Sentinel-2 scene with its offset decided, or refused.

    Args:
        scene: `offset` as the metadata implies by the manifest's rule.
        source: The rule, and what to do where nothing is stated or pixels contradict.
        low_percentiles: Function scene -> band: 1st percentile of valid DN as stored.
    """
    unknown = scene.offset_source == UNKNOWN_OFFSET
    if unknown and source.unknown_baseline == "refuse":
        return Completed(scene, "offset", "its metadata do not settle the offset")
    low = low_percentiles(scene)
    if unknown and source.unknown_baseline == "pixels":
        found = pixel_offset(low)
        if found is None:
            reason = "its metadata do not settle the offset, and its dark pixels prove nothing"
            return Completed(replace(scene, offset_evidence="inconclusive"), "offset", reason)
        return Completed(_by_pixels(scene, found))
    evidence = offset_evidence(low, scene.offset)
    settled = replace(scene, offset_evidence=evidence)
    if evidence != "conflicts" or source.on_conflict == "trust_metadata":
        return Completed(settled)
    if source.on_conflict == "trust_pixels":
        found = pixel_offset(low)
        assert found is not None
        return Completed(_by_pixels(scene, found))
    lowest = ", ".join(f"{band} {value:.0f}" for band, value in sorted(low.items()))
    reason = (
        f"{_stated(scene)} implies offset {scene.offset}, but dark pixels contradict ({lowest})"
    )
    return Completed(settled, "offset", reason)


def _by_pixels(scene: Scene, found: int) -> Scene:
    return replace(scene, offset=-found, offset_source="pixels", offset_evidence="agrees")


def _stated(scene: Scene) -> str:
    if scene.offset_source == "flag":
        return "the item's flag"
    if scene.offset_source == "item":
        return "the item's own offset"
    return f"baseline {scene.baseline}" if scene.baseline else "the manifest's rule"


def _complete(scene: Scene, manifest: Manifest, roots: Roots) -> Completed:
    resolve = partial(roots.resolve, scene.sensor)
    signer = roots.signer(scene.sensor)
    asset = finest_band(scene)
    try:
        if scene.grid is None:
            scene = replace(scene, grid=pixels.read_header(resolve(asset.href), signer=signer))
        if manifest.s2 is None or scene.sensor != "s2" or roots.root("s2").kind == "archive":
            return Completed(scene)
        return settle_offset(
            scene, manifest.s2, lambda s: pixels.low_percentiles(s, resolve, signer=signer)
        )
    except InputError:
        raise
    except LandmarkError as error:
        if is_url(asset.href):
            return Completed(scene, UNREADABLE, str(error))
        raise InputError(f"item {scene.item}: {error}") from None
