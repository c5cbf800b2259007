"""Texts that repeat from patch to patch, held as codes: a corpus in memory takes a third.

Captions, credits and file names are two thirds of an index's bytes and few of them differ. In
memory these columns are dictionary arrays; in files they are plain text (Parquet encodes it by
itself), so no reader has to know of this.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

REPEATED = frozenset(
    {"sensor", "patch_file", "caption", "caption_long", "scene", "datatake"}
    | {"licences", "attributions"}
)
_CODES = pa.dictionary(pa.int32(), pa.string())


def coded_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema in memory of a schema in files: `REPEATED` columns as codes."""
    fields = [
        field.with_type(pa.list_(_CODES) if pa.types.is_list(field.type) else _CODES)
        if field.name in REPEATED
        else field
        for field in schema
    ]
    return pa.schema(fields, metadata=schema.metadata)


def distinct(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts of a column without nulls, and which of them each row holds."""
    if not len(column):
        return [], np.empty(0, np.int64)
    codes = column.combine_chunks().dictionary_encode()
    return codes.dictionary.to_pylist(), codes.indices.to_numpy().astype(np.int64)
