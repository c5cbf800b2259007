"""WebDataset: tar files of samples, `KEY.npy` (image), `KEY.json` (all else), `KEY.txt` (caption).

`<sensor>-<split>-000000.tar` holds at most 1000 samples. A dot ends a key in WebDataset, so dots
of a patch id become `-`; the id itself is in the JSON. Tar headers carry no time or owner: equal
datasets give equal files.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from landmark.dataset import Dataset
from landmark.exporting.records import Record

_SAMPLES = 1000


def write(records: Iterator[Record], folder: Path, dataset: Dataset) -> int:
    """Write all records; return how many."""
    count = 0
    for (sensor, split), group in groupby(records, key=lambda r: (r.sensor, r.row["split"])):
        file: tarfile.TarFile | None = None
        for number, record in enumerate(group):
            if number % _SAMPLES == 0:
                if file is not None:
                    file.close()
                name = f"{sensor}-{split}-{number // _SAMPLES:06d}.tar"
                file = tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            assert file is not None
            _add(file, record)
            count += 1
        if file is not None:
            file.close()
    return count


def _add(file: tarfile.TarFile, record: Record) -> None:
    key = record.patch_id.replace(".", "-")
    image = io.BytesIO()
    np.save(image, np.asarray(record.image), allow_pickle=False)
    members = {
        "npy": image.getvalue(),
        "json": json.dumps(_facts(record), sort_keys=True).encode(),
        "txt": str(record.row["caption"]).encode(),
    }
    for suffix, data in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(data)
        file.addfile(info, io.BytesIO(data))


def _facts(record: Record) -> dict[str, Any]:
    layout = record.layout
    row = dict(record.row)
    row["datetime"] = row["datetime"].isoformat()
    row["bands"], row["scale"], row["nodata"] = list(layout.bands), layout.scale, layout.nodata
    return row
