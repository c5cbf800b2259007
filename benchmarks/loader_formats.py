"""What `benchmarks/loader.py` compares: HDF5 and the formats made for training.

Every subject writes the same samples, (12, 120, 120) uint16, in its own format, and gives them
back in batches of 32 as torch tensors. Imports are inside the classes: a subject runs in whichever
interpreter has its library.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.loader_epochs import (
    BATCH,
    BUFFER,
    SHAPE,
    SHARD_ROWS,
    Batched,
    Epoch,
    Kept,
    index_batches,
    sample_batches,
)


class Hdf5Published:
    """float32, one group per sample, file opened anew for each: as CrisisLandMark's loader does."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import h5py
        import hdf5plugin

        with h5py.File(folder / "data.h5", "w") as file:
            for number, sample in enumerate(samples):
                group = file.create_group(f"{number:06d}")
                group.create_dataset(
                    "image", data=sample.astype(np.float32), chunks=True, **hdf5plugin.Zstd()
                )
                coordinates = np.zeros((2, 120, 120), np.float32)
                group.create_dataset("coords", data=coordinates, chunks=True, **hdf5plugin.Zstd())
                group.attrs["crs"] = 32632
                group.attrs["timestamp"] = 1.6e9
                group.attrs["labels"] = ["Crops", "Water"]

    def open(self, folder: Path) -> None:
        import h5py
        import hdf5plugin  # noqa: F401 (registers the filter)

        with h5py.File(folder / "data.h5") as file:
            keys = list(file)

        class Reopening(Dataset[torch.Tensor]):
            def __len__(self) -> int:
                return len(keys)

            def __getitem__(self, index: int) -> torch.Tensor:
                with h5py.File(folder / "data.h5") as file:
                    group = file[keys[index]]
                    image = torch.from_numpy(group["image"][:])
                    group["coords"][:]
                    group.attrs["timestamp"]
                    group.attrs["crs"]
                return image.float()

        self._dataset = Reopening()

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from sample_batches(self._kept, self._dataset, epoch)


class Hdf5Strongest:
    """uint16, one dataset, one chunk per sample, blosc-lz4, one handle, read into the batch."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import h5py
        import hdf5plugin

        options = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
        with h5py.File(folder / "data.h5", "w") as file:
            file.create_dataset("images", data=samples, chunks=(1, *SHAPE), **options)

    def open(self, folder: Path) -> None:
        import h5py
        import hdf5plugin  # noqa: F401

        handles: dict[str, Any] = {}

        def fill(out: np.ndarray, indices: list[int]) -> None:
            # HDF5 handles do not survive a fork: each worker opens its own, once.
            if "images" not in handles:
                handles["images"] = h5py.File(folder / "data.h5")["images"]
            for place, index in enumerate(indices):
                handles["images"].read_direct(out[place], np.s_[index])

        with h5py.File(folder / "data.h5") as file:
            count = len(file["images"])
        self._dataset = Batched(count, fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from index_batches(self._kept, self._dataset, epoch)


class WebDataset:
    """Tar shards of .npy, the library's own shuffle and decoder."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import webdataset

        with webdataset.ShardWriter(
            str(folder / "%05d.tar"), maxcount=SHARD_ROWS, verbose=0
        ) as writer:
            for number, sample in enumerate(samples):
                buffer = io.BytesIO()
                np.save(buffer, sample)
                writer.write({"__key__": f"{number:06d}", "npy": buffer.getvalue()})

    def open(self, folder: Path) -> None:
        self._urls = sorted(str(path) for path in folder.glob("*.tar"))

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from self._kept.get(epoch, lambda: self._made(epoch))

    def _made(self, epoch: Epoch) -> Any:
        import webdataset

        dataset = webdataset.WebDataset(
            self._urls,
            shardshuffle=len(self._urls) if epoch.shuffled else False,
            seed=epoch.number,
            nodesplitter=webdataset.split_by_node,
            workersplitter=webdataset.split_by_worker,
        )
        if epoch.shuffled:
            dataset = dataset.shuffle(BUFFER)
        dataset = dataset.decode().to_tuple("npy").map(lambda pair: torch.from_numpy(pair[0]))
        return webdataset.WebLoader(
            dataset.batched(BATCH, collation_fn=torch.stack),
            batch_size=None,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
        )


def _litdata_sample(task: tuple[str, int]) -> dict[str, np.ndarray]:
    path, index = task
    return {"image": np.ascontiguousarray(np.load(path, mmap_mode="r")[index])}


class Litdata:
    """Raw chunks of 64 MB; `batch_decode=False`: its "auto" is many times slower when shuffled."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import litdata

        source = folder.parent / "litdata-source.npy"
        np.save(source, samples)
        litdata.optimize(
            _litdata_sample,
            inputs=[(str(source), index) for index in range(len(samples))],
            output_dir=str(folder),
            chunk_bytes="64MB",
            num_workers=1,
            verbose=False,
        )
        source.unlink()

    def open(self, folder: Path) -> None:
        self._folder = folder

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        for batch in self._kept.get(epoch, lambda: self._made(epoch)):
            yield batch["image"]

    def _made(self, epoch: Epoch) -> Any:
        import litdata

        dataset = litdata.StreamingDataset(
            str(self._folder), shuffle=epoch.shuffled, seed=epoch.number, batch_decode=False
        )
        return litdata.StreamingDataLoader(
            dataset,
            batch_size=BATCH,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
            drop_last=False,
        )


class MosaicML:
    """Raw MDS shards, the library's own shuffle."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import streaming

        columns = {"image": "ndarray:uint16:12,120,120"}
        with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=1 << 26) as writer:
            for sample in samples:
                writer.write({"image": np.ascontiguousarray(sample)})

    def open(self, folder: Path) -> None:
        self._folder = folder

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        for batch in self._kept.get(epoch, lambda: self._made(epoch)):
            yield batch["image"]

    def _made(self, epoch: Epoch) -> Any:
        import streaming
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        dataset = streaming.StreamingDataset(
            local=str(self._folder),
            shuffle=epoch.shuffled,
            shuffle_seed=epoch.number,
            batch_size=BATCH,
        )
        return DataLoader(
            dataset,
            batch_size=BATCH,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
        )
