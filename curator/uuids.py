"""Ids of documents as columns: 16 bytes, Arrow's UUIDs, or the 36 letters in which people write them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U8 = npt.NDArray[np.uint8]

_DASHES: Final = (8, 13, 18, 23)  # of a UUID in its 36 letters
_PLACES: Final = np.delete(np.arange(36), _DASHES)
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint8).reshape(256, 2)
_NIBBLE: Final = np.array(
    [int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else 255 for c in range(256)], np.uint8
)


def is_id(kind: pa.DataType) -> bool:
    """True for a column of 16 bytes, whether it is called a UUID or not."""
    return bool(kind == pa.uuid() or kind == pa.binary(16))


def id_bytes(column: pa.Array | pa.ChunkedArray) -> U8:
    """Look at 16-byte ids as they lie in Arrow's buffer.  # [rows, 16] uint8"""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if not len(storage):
        return np.zeros((0, 16), np.uint8)
    raw = np.frombuffer(storage.buffers()[1], dtype=np.uint8)
    return raw[storage.offset * 16 : (storage.offset + len(storage)) * 16].reshape(-1, 16)


def words(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Ids as `ids.ids_array` makes them, from 16 bytes or from letters.  # [rows, 2] uint64"""
    raw = id_bytes(column) if is_id(column.type) else _read(column)
    return np.ascontiguousarray(raw).view("<u8")


def letters(column: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Write 16-byte ids in 36 letters, lower case, all at once; null stays null."""
    text = np.full((len(column), 36), ord("-"), np.uint8)
    text[:, _PLACES] = _HEX[id_bytes(column)].reshape(-1, 32)
    ends = pa.py_buffer(np.arange(0, 36 * len(column) + 1, 36, dtype=np.int32).tobytes())
    valid = None
    if column.null_count:
        valid = pa.py_buffer(np.packbits(np.asarray(column.is_valid()), bitorder="little").tobytes())
    return pa.StringArray.from_buffers(len(column), ends, pa.py_buffer(text.tobytes()), valid)


def _read(column: pa.Array | pa.ChunkedArray) -> U8:
    """Read ids in 36 letters back into 16 bytes; ValueError for other text or null.  # [rows, 16] uint8"""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = array.cast(pa.large_string())
    ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    if array.null_count or (np.diff(ends) != 36).any():
        raise ValueError("ids must be UUIDs of 36 letters")
    if not len(array):
        return np.zeros((0, 16), np.uint8)
    text = np.frombuffer(array.buffers()[2], np.uint8)[ends[0] : ends[-1]].reshape(-1, 36)
    halves = _NIBBLE[text[:, _PLACES]]
    if (halves == 255).any():
        raise ValueError("ids must be UUIDs of 36 letters")
    return halves[:, 0::2] << np.uint8(4) | halves[:, 1::2]
