"""Embeddings on their way to the host: as packed numbers, because writing millions of them as text takes seconds."""

from __future__ import annotations

import base64
import math
from array import array
from typing import Any, Dict, List  # noqa: UP035 - evaluated on Python 3.9


def pack(made: Dict[str, Any]) -> Dict[str, Any]:  # noqa: UP006
    """``vectors`` becomes ``packed``: base64 of 64-bit floats in this machine's order, and the length of each vector.

    What does not look like vectors stays as it is, for the host to say what is wrong. Raises ValueError for NaN.
    """
    vectors = made.get("vectors")
    try:
        rows = [array("d", vector) for vector in vectors or ()]
    except TypeError:
        return made
    if not all(math.isfinite(sum(row)) for row in rows):
        raise ValueError("the vectors have numbers that are not finite")
    data = base64.b64encode(b"".join(row.tobytes() for row in rows)).decode("ascii")
    rest = {name: value for name, value in made.items() if name != "vectors"}
    return {**rest, "packed": data, "lengths": [len(row) for row in rows]}


def unpack(made: Dict[str, Any]) -> List[List[float]]:  # noqa: UP006
    """The vectors again."""
    numbers = array("d")
    numbers.frombytes(base64.b64decode(made["packed"]))
    found, start = [], 0
    for length in made["lengths"]:
        found.append(numbers[start : start + length].tolist())
        start += length
    return found
