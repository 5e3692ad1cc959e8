"""Answers as bytes: what the page reads is what was given."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from ditscope.explorer.payload import DTYPES, Payload


def unpack(data):
    """The JSON and the arrays of an answer, as core.js reads them."""
    length = int.from_bytes(data[:4], "little")
    said = json.loads(data[4 : 4 + length])
    dtypes = {"bfloat16": ml_dtypes.bfloat16}
    for name, plan in said["arrays"].items():
        start, n = 4 + length + plan["offset"], int(np.prod(plan["shape"]))
        dtype = np.dtype(dtypes.get(plan["dtype"], plan["dtype"]))
        assert start % 8 == 0
        said["arrays"][name] = np.frombuffer(data, dtype, n, start).reshape(plan["shape"])
    return said


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", "float16", "int64"])
def test_arrays_come_back_with_every_bit(dtype) -> None:
    array = (np.random.default_rng(0).normal(size=(3, 5)) * 100).astype(dtype)
    found = unpack(Payload({"said": "ä"}, {"a": array[:, ::2], "b": array.T}).pack())
    assert (found["said"], found["arrays"]["a"].tolist()) == ("ä", array[:, ::2].tolist())
    assert found["arrays"]["b"].tolist() == array.T.tolist()
    assert found["arrays"]["a"].dtype.name in DTYPES


def test_what_is_not_finite_is_kept_in_arrays_and_null_in_json() -> None:
    array = np.array([np.nan, np.inf, -0.0], ml_dtypes.bfloat16)
    found = unpack(Payload({"x": [float("nan"), {"y": float("inf")}]}, {"a": array}).pack())
    assert found["x"] == [None, {"y": None}]
    assert found["arrays"]["a"].tobytes() == array.tobytes()
