"""How each provider describes its scenes, one module a provider.

A provider turns one STAC item into a `Scene`: band keys, units, quantity, offset rule, nodata,
signing and licence stand in its module, and nothing else of the code knows it. A new one is a
module with `PROVIDER` and a line in `_PROVIDERS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from landmark.errors import InputError
from landmark.manifest import Sentinel1, Sentinel2
from landmark.scenes import Scene
from landmark.signing import NO_ACCESS, Access
from landmark.throttle import host_of

_PROVIDERS: MappingProxyType[str, str] = MappingProxyType(
    {
        "generic": "landmark.providers.generic",
        "planetary-computer": "landmark.providers.planetary_computer",
        "earth-search": "landmark.providers.earth_search",
        "cdse": "landmark.providers.cdse",
    }
)
#: The provider whose catalog it is, else `generic`.
AUTOMATIC = "auto"
#: Catalogs call it proprietary; Regulation (EU) 2021/696 and the notice of this name govern it.
COPERNICUS_LICENCE = "Copernicus-Sentinel-data-legal-notice"
#: Why Sentinel-1 GRD is refused: no amount of reading makes it terrain corrected.
GRD_REASON = (
    "is ground range, not terrain corrected: its files have ground control points only, its "
    "proj fields describe a grid that does not exist, and its numbers are uncalibrated amplitudes"
)


@dataclass(frozen=True)
class ItemContext:
    """What a provider is told beside the item.

    Attributes:
        sensor: `s1` or `s2`.
        source: The manifest's settings of the sensor.
        stored: Function href of the item -> href as the plan keeps it (unsigned or relative).
        licence: Licence of the item's collection, or "".
    """

    sensor: str
    source: Sentinel1 | Sentinel2
    stored: Callable[[str], str]
    licence: str = ""


SceneOf = Callable[[dict[str, Any], ItemContext], Scene]


@dataclass(frozen=True)
class Provider:
    """A provider.

    Attributes:
        name: As the manifest names it.
        scene_of: Function item -> scene.
        collections: Sensor -> collections searched where the manifest names none.
        refused: Collection -> why it cannot be used.
        hosts: Hosts of its STAC API, by which `auto` knows it.
        access: How its files are opened.
    """

    name: str
    scene_of: SceneOf
    collections: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    access: Access = NO_ACCESS

    def wanted(self, sensor: str, source: Sentinel1 | Sentinel2) -> tuple[str, ...]:
        """Return the collections to search for a sensor.

        Raises:
            InputError: A collection is refused, or the provider has none for the sensor.
        """
        names = source.collections or self.collections.get(sensor, ())
        if not names:
            why = next(iter(self.refused.values()), "")
            first = next(iter(self.refused), "")
            raise InputError(
                f"{sensor}.provider: {self.name} has no usable collection for {sensor}: "
                f"{first} {why}"
            )
        for name in names:
            if name in self.refused:
                raise InputError(f"{sensor}.collections: {name} {self.refused[name]}")
        return names


def provider(name: str, url: str = "") -> Provider:
    """Return a provider.

    Args:
        name: Its name, or `auto`.
        url: URL of the catalog, which tells `auto` the provider; "" for files.

    Raises:
        InputError: There is no such provider.
    """
    if name == AUTOMATIC:
        host = host_of(url)
        found = (_load(one) for one in _PROVIDERS.values()) if host else iter(())
        return next((one for one in found if host in one.hosts), _load(_PROVIDERS["generic"]))
    module = _PROVIDERS.get(name)
    if module is None:
        known = ", ".join([AUTOMATIC, *_PROVIDERS])
        raise InputError(f"provider: no provider {name!r}; known are {known}")
    return _load(module)


def _load(module: str) -> Provider:
    loaded: Provider = importlib.import_module(module).PROVIDER
    return loaded
