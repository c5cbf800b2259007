"""Patches as a torch dataset, samples in torchgeo's convention.

    from landmark.torch import PatchDataset
    from torch.utils.data import DataLoader

    patches = PatchDataset("data/demo", sensor="s2", split="train")
    batch = next(iter(DataLoader(patches, batch_size=8)))    # batch["image"]: (8, 12, 120, 120)

This is the plain way in, for own models and notebooks; training uses `baselines.loader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from landmark import dataset
from landmark.grid import SIZE_M
from landmark.pictures import picture_of
from landmark.taxonomy import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sample = dict[str, Any]


class PatchDataset(TorchDataset[Sample]):
    """Patches of one sensor, one sample each, in a fixed order.

    A sample holds:

    - `image`: float32 (bands, 120, 120): reflectance (0 = no data) or dB (NaN, or `fill`).
    - `crs`: e.g. `EPSG:32632`.
    - `bounds`: float64 (4,): west, south, east, north in that CRS, m.
    - `label`: int64 (12,) multi-hot in taxonomy order; `known`: int64 (12,), 1 where presence
      was decided (both only where the dataset is harmonized: mask the loss with `known`).
    - `caption` (where there is one) and `patch_id`.
    """

    def __init__(
        self,
        root: str | Path,
        sensor: str,
        split: str | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        fill: float | None = None,
    ) -> None:
        """Open a dataset.

        Args:
            root: The dataset directory, or a URL (`landmark.dataset.open`).
            sensor: `s1` or `s2`.
            split: `train`, `val`, `corpus`, or None for all patches.
            transforms: Applied to each sample.
            fill: Sentinel-1 value for pixels without data, dB; None keeps NaN.

        Raises:
            InputError: There are no such patches.
        """
        self._root, self._sensor, self._split = root, sensor, split
        self.transforms = transforms
        self.fill = fill
        self._reopen()

    def __len__(self) -> int:
        return len(self._opened)

    def __getitem__(self, index: int) -> Sample:
        if self._process != os.getpid():
            self._reopen()  # threads and connections do not live on in a forked loader process
        patch_id = self._opened[index]
        row = self._opened.row(patch_id)
        layout = self._opened.layout(patch_id)
        image = self._opened.image(patch_id).astype(np.float32)
        image *= np.float32(layout.scale)
        if self.fill is not None and layout.nodata is None:
            image[np.isnan(image)] = self.fill
        west, north = row["transform"][2], row["transform"][5]
        sample: Sample = {
            "image": torch.from_numpy(image),
            "crs": f"EPSG:{row['epsg']}",
            "bounds": torch.tensor(
                [west, north - SIZE_M, west + SIZE_M, north], dtype=torch.float64
            ),
            "patch_id": patch_id,
        }
        for key, column in (("label", "label_mask"), ("known", "known_mask")):
            if row.get(column) is not None:
                sample[key] = _bits(row[column])
        if row.get("caption") is not None:
            sample["caption"] = row["caption"]
        return sample if self.transforms is None else self.transforms(sample)

    def plot(self, sample: Sample, show_titles: bool = True) -> Figure:
        """Return a figure of a sample: true colour, or VV / VH / VV - VH for Sentinel-1.

        Args:
            sample: Of this dataset, before or after transforms that keep unit and bands.
            show_titles: Write id and caption above the picture.
        """
        from matplotlib.figure import Figure

        layout = self._opened.layout(sample["patch_id"])
        stored = sample["image"].numpy() / np.float32(layout.scale)
        figure = Figure(figsize=(4, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(picture_of(stored, layout))
        axes.set_axis_off()
        if show_titles:
            axes.set_title("\n".join([sample["patch_id"], sample.get("caption", "")]), fontsize=8)
        return figure

    def __getstate__(self) -> dict[str, Any]:
        # Maps and locks do not travel to loader processes; the files are opened again there.
        return {**self.__dict__, "_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reopen()

    def _reopen(self) -> None:
        self._opened = dataset.open(self._root, sensor=self._sensor, split=self._split)
        self._process = os.getpid()


def _bits(mask: int) -> torch.Tensor:
    return torch.tensor([mask >> bit & 1 for bit in range(len(CLASSES))], dtype=torch.int64)
