"""What `benchmarks/loader.py` compares: Arrow, Parquet and raw memory.

Every subject writes the same samples, (12, 120, 120) uint16, in its own format, and gives them
back in batches of 32 as torch tensors. Imports are inside the classes: a subject runs in whichever
interpreter has its library.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.loader_epochs import (
    BATCH,
    BUFFER,
    SHAPE,
    SHARD_ROWS,
    Batched,
    Epoch,
    Kept,
    index_batches,
)


class HfMap:
    """Hugging Face datasets on disk (Arrow, mapped), asked for whole batches as Arrow."""

    def __init__(self) -> None:
        self._kept = Kept()

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

        self._dataset = Batched(len(data), fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from index_batches(self._kept, self._dataset, epoch)


class HfStreaming:
    """Hugging Face datasets streaming the plain Parquet files, shuffled through a buffer."""

    def __init__(self) -> None:
        self._kept = Kept()

    def write(self, samples: np.ndarray, folder: Path) -> None:
        ParquetZstd().write(samples, folder)

    def open(self, folder: Path) -> None:
        self._files = sorted(str(path) for path in folder.glob("*.parquet"))

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        loader = self._kept.get(epoch, lambda: self._made(epoch))
        loader.dataset.set_epoch(epoch.number)
        yield from loader

    def _made(self, epoch: Epoch) -> Any:
        import datasets

        data = datasets.load_dataset(
            "parquet", data_files=self._files, split="train", streaming=True
        )
        if epoch.shuffled:
            data = data.shuffle(seed=0, buffer_size=BUFFER)

        def collate(rows: list[dict[str, bytes]]) -> torch.Tensor:
            images = [np.frombuffer(row["image"], np.uint16).reshape(SHAPE) for row in rows]
            return torch.from_numpy(np.stack(images))

        return DataLoader(
            data,
            batch_size=BATCH,
            num_workers=epoch.workers,
            persistent_workers=epoch.workers > 0,
            collate_fn=collate,
        )


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

    def __init__(self) -> None:
        self._kept = Kept()

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

        self._dataset = Batched(sum(len(column) for column in columns), fill)

    def batches(self, epoch: Epoch) -> Iterator[torch.Tensor]:
        yield from index_batches(self._kept, self._dataset, epoch)


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
