"""A hash of arrays, to recognize the same data."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np


def fingerprint(*arrays: np.ndarray | float) -> str:
    """Hexadecimal digest of the values."""
    digest = hashlib.blake2b(digest_size=16)
    for a in arrays:
        digest.update(np.ascontiguousarray(a).data.cast("B"))
    return digest.hexdigest()


def checksum(*arrays: np.ndarray) -> int:
    """A number that changes with the values (but for one change in 2^32); five times faster than a hash."""
    value = 0
    for a in arrays:
        value = zlib.crc32(np.ascontiguousarray(a).data.cast("B"), value)
    return value
