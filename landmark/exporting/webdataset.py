"""WebDataset: tar files of samples, `KEY.npy` (image), `KEY.json` (all else), `KEY.txt` (caption).

`<sensor>-<split>-000000.tar` holds at most 1000 samples. The scene classification, where there is
one, is `KEY.scl.npy`. A dot ends a key in WebDataset, so dots of a patch id become `-`; the id
itself is in the JSON, where what is not known (NaN) is null. Tar headers carry no time or owner:
equal datasets give equal files.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    members = {
        "npy": _npy(record.image),
        "json": json.dumps(_facts(record), sort_keys=True, allow_nan=False).encode(),
        "txt": str(record.row["caption"]).encode(),
    }
    if record.scl is not None:
        members["scl.npy"] = _npy(record.scl)
    for suffix, data in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size = len(data)
        file.addfile(info, io.BytesIO(data))


def _npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def _facts(record: Record) -> dict[str, Any]:
    layout = record.layout
    facts: dict[str, Any] = _plain(record.row)
    facts["bands"], facts["scale"] = list(layout.bands), layout.scale
    facts["nodata"] = layout.nodata
    facts["known"] = list(record.known)
    return facts


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it: times as ISO text, NaN as null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    return None if isinstance(value, float) and value != value else value
