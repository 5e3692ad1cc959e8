"""What a view answers: JSON and arrays, as one piece of bytes.

Four bytes, the length of the JSON (little-endian); the JSON, which under ``arrays`` says dtype, shape and offset of
each; the arrays, each at a multiple of eight bytes. Hidden states travel in the dtype that they are stored in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DTYPES = ("bfloat16", "float32", "float64", "uint8", "uint16", "int32")
"""What the front end reads; the others are brought to one of these."""

_ALIGNED = 8
_BROUGHT_TO = {"bool": "uint8", "float16": "float32", "int64": "float64"}


@dataclass(frozen=True)
class Payload:
    """An answer.

    Attributes:
        values: JSON values; what is not finite is null there.
        arrays: by name, in one of :data:`DTYPES`, or in float16, int64 or bool, which are brought to wider ones.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As bytes."""
        plans, parts, offset = {}, [], 0
        for name, array in self.arrays.items():
            dtype = _BROUGHT_TO.get(array.dtype.name, array.dtype.name)
            data = np.ascontiguousarray(array, None if dtype == array.dtype.name else dtype).tobytes()
            plans[name] = {"dtype": dtype, "shape": array.shape, "offset": offset}
            padding = -len(data) % _ALIGNED
            parts += [data, b"\0" * padding]
            offset += len(data) + padding
        said = json.dumps(finite({**self.values, "arrays": plans}), allow_nan=False).encode()
        said += b" " * (-(len(said) + 4) % _ALIGNED)
        return b"".join([len(said).to_bytes(4, "little"), said, *parts])


def finite(value: Any) -> Any:
    """JSON values with null for what is not finite, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
