"""Which pictures look like an earlier one: pairs of 64-bit hashes a few bits apart, without comparing all pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HASH_BITS = 64


def near_duplicates(hashes: Sequence[str], bits: int) -> list[int | None]:
    """For each hash the index of the earliest one before it that differs in at most ``bits`` bits, or None.

    Two hashes that differ in at most ``bits`` bits agree in at least one of ``bits + 1`` parts (Norouzi, Punjani
    and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012), so only hashes that share a part
    are compared. Memory grows with the number of hashes, never with the number of pairs.

    Args:
        hashes: 16 hex digits each, as ``ImageFacts.dhash``.
        bits: largest number of differing bits, at least 0. Quick up to about 7; above, parts grow so short that
            they tell little apart.

    Raises:
        ValueError: a hash is not 16 hex digits, or ``bits`` is negative.
    """
    if bits < 0:
        raise ValueError(f"bits = {bits} is negative")
    codes = np.fromiter((_code(text) for text in hashes), dtype=np.uint64, count=len(hashes))
    if bits >= _HASH_BITS:
        return [0 if i else None for i in range(len(codes))]
    # Equal hashes would all share every part: a folder of one picture a thousand times would cost a million pairs.
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first = first[order]
    earliest = _earliest_near(codes[first], bits)
    found: list[int | None] = []
    for index, unique in enumerate(place[group].tolist()):
        near = int(first[earliest[unique]])
        found.append(near if near < index else None)
    return found


def _earliest_near(codes: NDArray[np.uint64], bits: int) -> NDArray[np.intp]:
    """For each of the different ``codes`` the smallest index within ``bits`` bits, its own where none is smaller."""
    earliest = np.arange(len(codes), dtype=np.intp)
    edges = np.linspace(0, _HASH_BITS, bits + 2).astype(int)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = (codes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        _compare_equal_parts(codes, part, bits, earliest)
    return earliest


def _compare_equal_parts(
    codes: NDArray[np.uint64], part: NDArray[np.uint64], bits: int, earliest: NDArray[np.intp]
) -> None:
    """Lower ``earliest`` by every pair that agrees in ``part``.

    Sorted by part, pairs of one bucket lie next to each other: all pairs at distance 1 are compared in one go, then
    all at distance 2, until no bucket is that large.
    """
    index = np.argsort(part, kind="stable")
    codes, part = codes[index], part[index]
    left = np.arange(len(codes) - 1, dtype=np.intp)
    distance = 1
    while len(left):
        left = left[: np.searchsorted(left, len(codes) - distance)]
        left = left[part[left] == part[left + distance]]
        right = left + distance
        near = np.bitwise_count(codes[left] ^ codes[right]) <= bits
        later, earlier = index[right[near]], index[left[near]]
        earliest[later] = np.minimum(earliest[later], earlier)
        distance += 1


def _code(text: str) -> int:
    if len(text) != _HASH_BITS // 4:
        raise ValueError(f"hash {text!r} is not {_HASH_BITS // 4} hex digits")
    return int(text, 16)
