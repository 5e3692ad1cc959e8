import dataclasses
import json

import pytest
from store_recording import make_schema

from ditscope.cache import BlockSpec, SampleSpec, Schema, StepSpec, StreamSpec
from ditscope.errors import InputError


def test_json_round_trip():
    schema = make_schema()
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_json_round_trip_without_optional_parts():
    schema = make_schema(trajectory=None, image_height=None, image_width=None, compression="zstd")
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dtype": "int8"}, "int8"),
        ({"compression": "gzip"}, "gzip"),
        ({"channels": (3, 80)}, "80"),
        ({"channels": (3, 3)}, r"\[3, 3\]"),
        ({"channels": ()}, "channel"),
        ({"channels": (-1, 2)}, "-1"),
        ({"tensors": False, "stats": False}, "tensors=False"),
        ({"branches": ("cond", "cond")}, "branch"),
        ({"width": 0}, "width"),
        ({"sites": ("token_id",)}, "token_id"),
        ({"sites": ()}, "site"),
        ({"image_height": None}, "image"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps": (StepSpec(3, 0.1, 1.0), StepSpec(1, 0.2, 2.0))}, "step"),
        ({"blocks": ()}, "block"),
        ({"width": True}, "True"),
    ],
)
def test_unusable_schemas_are_refused_by_name(changes, named):
    with pytest.raises(InputError, match=named):
        make_schema(**changes)


@pytest.mark.parametrize(
    "build",
    [
        lambda: StreamSpec("image", 12, 3, 5),
        lambda: StreamSpec("image", 12, 3),
        lambda: StreamSpec("token", 12),
        lambda: StreamSpec("image", 2**40),
        lambda: StepSpec(0, float("nan"), 1.0),
        lambda: SampleSpec(3, 0),
        lambda: SampleSpec("a", 2**63),
        lambda: BlockSpec(-1, "double.0", "double"),
    ],
)
def test_unusable_parts_are_refused(build):
    with pytest.raises(InputError, match="expected"):
        build()


@pytest.mark.parametrize("spoil", ["missing", "unknown", "wrong type", "not a mapping"])
def test_json_from_elsewhere_is_refused(spoil):
    data = make_schema().to_json()
    if spoil == "missing":
        del data["blocks"]
    elif spoil == "unknown":
        data["surprise"] = 1
    elif spoil == "wrong type":
        data["steps"] = 3
    else:
        data["blocks"] = ["double.0"]
    with pytest.raises(InputError, match="expected"):
        Schema.from_json(data)


def test_a_schema_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_schema().width = 3
