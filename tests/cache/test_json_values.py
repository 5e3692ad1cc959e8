import math

import numpy as np
import pytest

from ditscope.cache.json_values import json_values, plain_entries
from ditscope.errors import InputError


def test_values_are_as_they_read_back():
    assert json_values({"a": (1, [2.5, None]), "b": {"c": ("x",)}}, "value") == {
        "a": [1, [2.5, None]],
        "b": {"c": ["x"]},
    }


@pytest.mark.parametrize("value", [object(), math.nan, [1, math.inf], {1, 2}, b"bytes", np.zeros(2)])
def test_what_is_no_json_is_refused_by_name(value):
    with pytest.raises(InputError, match="setting 'odd' of type"):
        json_values({"fine": 1, "odd": value}, "setting")


def test_other_objects_can_be_written_at_any_depth():
    assert json_values({"a": [np.float32(0.5), {"b": np.int64(3)}]}, "value", default=np.generic.tolist) == {
        "a": [0.5, {"b": 3}]
    }
    with pytest.raises(InputError, match="'a'"):
        json_values({"a": [np.float32("nan")]}, "value", default=np.generic.tolist)


def test_plain_entries_of_a_library_configuration():
    config = {"shift": 3.0, "_class_name": "Scheduler", "limit": -math.inf, "sigmas": [1.0], "name": None}
    assert plain_entries(config) == {"shift": 3.0, "limit": "-inf", "name": None}
