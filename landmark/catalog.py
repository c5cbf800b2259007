"""From manifest to scenes, over any STAC API or a local catalog, with one result type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from landmark.answers import Answers
from landmark.errors import InputError
from landmark.local_catalog import LocalItem, matcher, read_items
from landmark.manifest import Manifest, Sentinel1, Sentinel2
from landmark.progress import Progress
from landmark.providers import ItemContext, Provider, provider
from landmark.scenes import Scene
from landmark.sources import Root, Roots, unsigned
from landmark.stac_api import StacApi
from landmark.stac_items import AreaShape, Item, in_area, in_period, open_area


def find_scenes(
    manifest: Manifest, roots: Roots, progress: Progress, answers: Answers | None = None
) -> list[Scene]:
    """Return the scenes of a manifest, ordered by sensor, time and item.

    Scenes of every status are returned (clouds, duplicates): choosing is the plan's work.
    Headers are not read; `Scene.grid` is None. The order of the search answer does not matter.

    Args:
        manifest: What to look for.
        roots: Where its catalogs lie.
        progress: Told of searches.
        answers: Where answers of APIs are kept; None: nowhere.

    Raises:
        InputError: The search finds nothing, or an item lacks what the manifest asks for.
        LandmarkError: The API does not answer.
    """
    area = open_area(manifest.area)
    found: dict[str, Scene] = {}
    for sensor in manifest.sensors():
        source = manifest.s1 if sensor == "s1" else manifest.s2
        assert source is not None
        scenes = _search(manifest, sensor, source, roots, area, progress, answers)
        if not scenes:
            raise InputError(_nothing(manifest, sensor, source, roots.root(sensor)))
        progress.note(f"{sensor}: {len(scenes)} scenes")
        found |= scenes
    return sorted(found.values(), key=lambda s: (s.sensor, s.time, s.item, s.to_json()))


def _search(
    manifest: Manifest,
    sensor: str,
    source: Sentinel1 | Sentinel2,
    roots: Roots,
    area: AreaShape | None,
    progress: Progress,
    answers: Answers | None,
) -> dict[str, Scene]:
    """Return scenes by their JSON, so that an item listed twice counts once."""
    root = roots.root(sensor)
    whose = _provider(source, root)
    collections = whose.wanted(sensor, source)
    scenes = {}
    progress.start(f"search {sensor}", 0)
    items = (
        _from_api(manifest, sensor, source, root, area, collections, progress, answers)
        if root.kind == "api"
        else _from_files(sensor, source, root)
    )
    for entry in items:
        item = entry.item
        if (
            item.get("collection") not in collections
            or not in_area(item, area)
            or not in_period(item, manifest.time)
        ):
            continue
        folder = str(entry.folder) if root.folder else ""
        context = ItemContext(
            sensor=sensor,
            source=source,
            stored=lambda href, folder=folder: roots.stored(sensor, href, folder),  # type: ignore[misc]
            licence=entry.licence,
        )
        scene = whose.scene_of(item, context)
        scenes[scene.to_json()] = scene
        progress.advance()
    progress.finish()
    return scenes


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    told: set[str] = set()

    def tell(message: str) -> None:
        if message not in told:
            told.add(message)
            note(message)

    return tell


def _provider(source: Sentinel1 | Sentinel2, root: Root) -> Provider:
    return provider(source.provider, root.entry if root.kind == "api" else "")


def _from_files(sensor: str, source: Sentinel1 | Sentinel2, root: Root) -> Iterator[LocalItem]:
    items = read_items(Path(root.entry))
    if source.filter is None:
        return items
    matches = matcher(source.filter, f"{sensor}.filter")
    return (entry for entry in items if matches(entry.item))


def _from_api(
    manifest: Manifest,
    sensor: str,
    source: Sentinel1 | Sentinel2,
    root: Root,
    area: AreaShape | None,
    collections: tuple[str, ...],
    progress: Progress,
    answers: Answers | None,
) -> Iterator[LocalItem]:
    if area is None or manifest.time is None:
        missing = "area" if area is None else "time"
        raise InputError(
            f"{missing}: a catalog of kind api needs area and time; {missing} is missing"
        )
    api = StacApi(root.entry, answers=answers, note=_once(progress.note))
    licences: dict[str, str] = {}
    items: Iterator[Item] = api.search(
        area=area,
        period=manifest.time,
        collections=collections,
        text=source.filter,
        field=f"{sensor}.filter",
    )
    for item in items:
        name = str(item.get("collection") or "")
        if name not in licences:
            licences[name] = api.licence(name)
        yield LocalItem(item, Path(), licences[name])


def _nothing(manifest: Manifest, sensor: str, source: Sentinel1 | Sentinel2, root: Root) -> str:
    collections = _provider(source, root).wanted(sensor, source)
    where = "any area"
    if manifest.area is not None:
        box = ", ".join(f"{value:g}" for value in manifest.area.bbox or ())
        where = f"area {manifest.area.file or 'bbox ' + box}"
    when = "any time"
    if manifest.time is not None:
        when = f"time {manifest.time.start} to {manifest.time.end}"
    rule = f", filter {source.filter!r}" if source.filter else ""
    name = unsigned(root.entry) if root.kind == "api" else root.entry
    return (
        f"{sensor}: catalog {name} holds no item of {', '.join(collections)} in {where}, "
        f"{when}{rule}"
    )
