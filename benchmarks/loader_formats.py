"""What `benchmarks/loader.py` compares: each format written and read the way its users do.

Every subject writes the same samples, (12, 120, 120) uint16, in its own format, and gives them
back in batches of 32 as torch tensors. Imports are inside the classes: a subject runs in whichever
interpreter has its library.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

BATCH = 32
SHAPE = (12, 120, 120)
#: Shards, and the buffer of libraries that shuffle through one (their usual order of size).
SHARD_ROWS, BUFFER = 128, 512


@dataclass(frozen=True)
class Epoch:
    """One pass: its number, in random order or not, with how many worker processes."""

    number: int
    shuffled: bool
    workers: int


class Subject(Protocol):
    """One format with its loader."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        """Write (n, 12, 120, 120) uint16 samples to an empty folder."""

    def open(self, folder: Path) -> None:
        """Get ready to read."""

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        """Give (<= 32, 12, 120, 120) tensors of the type the format stores."""


def _loader(dataset: Dataset[Any], epoch: Epoch, **options: Any) -> Iterator[Any]:
    generator = torch.Generator().manual_seed(epoch.number)
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=epoch.shuffled,
        generator=generator,
        num_workers=epoch.workers,
        **options,
    )
    yield from loader


class _Batched(Dataset[torch.Tensor]):
    """A map dataset asked for whole batches of indices: no per-sample tensors, no stacking."""

    def __init__(self, count: int, fill: Callable[[np.ndarray, list[int]], None]) -> None:
        self._count, self._fill = count, fill

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: list[int]) -> torch.Tensor:
        out = np.empty((len(indices), *SHAPE), np.uint16)
        self._fill(out, indices)
        return torch.from_numpy(out)


def _batched(dataset: _Batched, epoch: Epoch) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(epoch.number)
    order = (
        RandomSampler(dataset, generator=generator)
        if epoch.shuffled
        else SequentialSampler(dataset)
    )
    sampler = BatchSampler(order, BATCH, drop_last=False)
    yield from DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=epoch.workers)


class Hdf5Published:
    """float32, one group per sample, file opened anew for each: as CrisisLandMark's loader does."""

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
        yield from _loader(self._dataset, epoch)


class Hdf5Strongest:
    """uint16, one dataset, one chunk per sample, blosc-lz4, one handle, read into the batch."""

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
        self._dataset = _Batched(count, fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from _batched(self._dataset, epoch)


class WebDataset:
    """Tar shards of .npy, the library's own shuffle and decoder."""

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
        loader = webdataset.WebLoader(
            dataset.batched(BATCH, collation_fn=torch.stack),
            batch_size=None,
            num_workers=epoch.workers,
        )
        yield from loader


def _litdata_sample(task: tuple[str, int]) -> dict[str, np.ndarray]:
    path, index = task
    return {"image": np.ascontiguousarray(np.load(path, mmap_mode="r")[index])}


class Litdata:
    """Raw chunks of 64 MB; `batch_decode=False`: its "auto" is many times slower when shuffled."""

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
        import litdata

        dataset = litdata.StreamingDataset(
            str(self._folder), shuffle=epoch.shuffled, seed=epoch.number, batch_decode=False
        )
        loader = litdata.StreamingDataLoader(
            dataset, batch_size=BATCH, num_workers=epoch.workers, drop_last=False
        )
        for batch in loader:
            yield batch["image"]


class MosaicML:
    """Raw MDS shards, the library's own shuffle."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import streaming

        columns = {"image": "ndarray:uint16:12,120,120"}
        with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=1 << 26) as writer:
            for sample in samples:
                writer.write({"image": np.ascontiguousarray(sample)})

    def open(self, folder: Path) -> None:
        self._folder = folder

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        import streaming
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        dataset = streaming.StreamingDataset(
            local=str(self._folder),
            shuffle=epoch.shuffled,
            shuffle_seed=epoch.number,
            batch_size=BATCH,
        )
        for batch in DataLoader(dataset, batch_size=BATCH, num_workers=epoch.workers):
            yield batch["image"]


class HfMap:
    """Hugging Face datasets on disk (Arrow, mapped), asked for whole batches as Arrow."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import datasets

        def rows() -> Iterator[dict[str, bytes]]:
            for sample in samples:
                yield {"image": sample.tobytes()}

        features = datasets.Features({"image": datasets.Value("binary")})
        cache = folder.parent / "hf-cache"
        built = datasets.Dataset.from_generator(rows, features=features, cache_dir=str(cache))
        built.save_to_disk(str(folder))
        shutil.rmtree(cache)

    def open(self, folder: Path) -> None:
        import datasets

        data = datasets.load_from_disk(str(folder)).with_format("arrow")

        def fill(out: np.ndarray, indices: list[int]) -> None:
            for place, value in enumerate(data[indices]["image"]):
                out[place] = np.frombuffer(value.as_buffer(), np.uint16).reshape(SHAPE)

        self._dataset = _Batched(len(data), fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from _batched(self._dataset, epoch)


class HfStreaming:
    """Hugging Face datasets streaming the plain Parquet files, shuffled through a buffer."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        ParquetZstd().write(samples, folder)

    def open(self, folder: Path) -> None:
        self._files = sorted(str(path) for path in folder.glob("*.parquet"))

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        import datasets

        data = datasets.load_dataset(
            "parquet", data_files=self._files, split="train", streaming=True
        )
        if epoch.shuffled:
            data = data.shuffle(seed=epoch.number, buffer_size=BUFFER)

        def collate(rows: list[dict[str, bytes]]) -> torch.Tensor:
            images = [np.frombuffer(row["image"], np.uint16).reshape(SHAPE) for row in rows]
            return torch.from_numpy(np.stack(images))

        yield from DataLoader(data, batch_size=BATCH, num_workers=epoch.workers, collate_fn=collate)


class ParquetZstd:
    """Plain Parquet, zstd level 1, through pyarrow: row groups in random order and a buffer."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for start in range(0, len(samples), SHARD_ROWS):
            rows = [sample.tobytes() for sample in samples[start : start + SHARD_ROWS]]
            table = pa.table({"image": pa.array(rows, pa.binary())})
            pq.write_table(
                table,
                folder / f"{start:06d}.parquet",
                row_group_size=64,
                compression="zstd",
                compression_level=1,
                use_dictionary=False,
            )

    def open(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._files = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        if epoch.workers:
            raise ValueError("pyarrow brings no worker processes: run it with none")
        random = np.random.default_rng(epoch.number)
        groups = [(f, g) for f in self._files for g in range(f.metadata.num_row_groups)]
        if epoch.shuffled:
            groups = [groups[i] for i in random.permutation(len(groups))]
        window = BUFFER // 64 if epoch.shuffled else 1
        for start in range(0, len(groups), window):
            values = [
                value
                for file, group in groups[start : start + window]
                for value in file.read_row_group(group)["image"]
            ]
            order = random.permutation(len(values)) if epoch.shuffled else range(len(values))
            chosen = [values[i] for i in order]
            for first in range(0, len(chosen), BATCH):
                part = chosen[first : first + BATCH]
                out = np.empty((len(part), *SHAPE), np.uint16)
                for place, value in enumerate(part):
                    out[place] = np.frombuffer(value.as_buffer(), np.uint16).reshape(SHAPE)
                yield torch.from_numpy(out)


class ArrowIpc:
    """An uncompressed Arrow file, mapped; values copied into the batch."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        import pyarrow as pa

        schema = pa.schema([("image", pa.binary())])
        with (
            pa.OSFile(str(folder / "data.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for start in range(0, len(samples), SHARD_ROWS):
                rows = [sample.tobytes() for sample in samples[start : start + SHARD_ROWS]]
                writer.write(pa.record_batch([pa.array(rows, pa.binary())], schema=schema))

    def open(self, folder: Path) -> None:
        import pyarrow as pa

        mapped = pa.memory_map(str(folder / "data.arrow"))
        file = pa.ipc.open_file(mapped)
        columns = [file.get_batch(i).column(0) for i in range(file.num_record_batches)]

        def fill(out: np.ndarray, indices: list[int]) -> None:
            for place, index in enumerate(indices):
                value = columns[index // SHARD_ROWS][index % SHARD_ROWS]
                out[place] = np.frombuffer(value.as_buffer(), np.uint16).reshape(SHAPE)

        self._dataset = _Batched(sum(len(column) for column in columns), fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from _batched(self._dataset, epoch)


class Memcpy:
    """The limit: raw samples of one mapped file copied into one batch that is taken again."""

    def write(self, samples: np.ndarray, folder: Path) -> None:
        np.save(folder / "data.npy", samples)

    def open(self, folder: Path) -> None:
        self._samples = np.load(folder / "data.npy", mmap_mode="r")
        self._out = np.empty((BATCH, *SHAPE), np.uint16)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        if epoch.workers:
            raise ValueError("memcpy has no worker processes")
        count = len(self._samples)
        order = np.random.default_rng(epoch.number).permutation(count)
        for start in range(0, count, BATCH):
            rows = order[start : start + BATCH] if epoch.shuffled else range(start, start + BATCH)
            for place, row in enumerate(rows):
                self._out[place] = self._samples[row]
            yield torch.from_numpy(self._out[: len(rows)])
