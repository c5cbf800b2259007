"""How each provider describes its scenes, one module a provider.

A provider turns one STAC item into a `Scene`. New ones are a module with `scene_of` and a line
in `_PROVIDERS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from landmark.errors import InputError
from landmark.manifest import Sentinel1, Sentinel2
from landmark.scenes import Scene

_PROVIDERS: MappingProxyType[str, str] = MappingProxyType({"generic": "landmark.providers.generic"})


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


def provider(name: str) -> SceneOf:
    """Return the function that turns an item into a scene.

    Raises:
        InputError: There is no such provider.
    """
    module = _PROVIDERS.get(name)
    if module is None:
        raise InputError(f"provider: no provider {name!r}; known are {', '.join(_PROVIDERS)}")
    scene_of: SceneOf = importlib.import_module(module).scene_of
    return scene_of
