import json

import pytest
from store_recording import CONFIG, make_manifest, make_schema

from ditscope.cache import StepSpec, build_manifest, config_hash, differences, manifest
from ditscope.cache.layout import plan_arrays
from ditscope.cache.manifest import validate_manifest
from ditscope.errors import CacheError, InputError


def test_hash_ignores_environment_and_key_order():
    schema = make_schema()
    one = build_manifest(schema, {"a": 1, "b": 2}, {"device": "cpu"})
    two = build_manifest(schema, {"b": 2, "a": 1}, {"device": "cuda:0", "versions": {"torch": "9"}})
    assert one["config_hash"] == two["config_hash"]
    assert two["environment"]["versions"] == {"torch": "9"}


def test_the_commit_of_a_checkout_is_said_and_is_no_part_of_the_configuration(monkeypatch):
    made = {}
    for commit in ("a", "b", None):
        monkeypatch.setattr(manifest, "commit", lambda commit=commit: commit)
        made[commit] = make_manifest(make_schema())
    assert [each["environment"].get("ditscope_commit", "absent") for each in made.values()] == [
        "a",
        "b",
        "absent",
    ]
    assert len({each["config_hash"] for each in made.values()}) == 1
    assert differences(made["a"], made["b"]) == differences(made["a"], made[None]) == []
    validate_manifest(made["a"], "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 2},
        {"dtype": "float16"},
        {"channels": (3, 4)},
        {"stats": False},
    ],
)
def test_hash_follows_the_schema(changes):
    assert config_hash(make_schema(**changes), CONFIG) != config_hash(make_schema(), CONFIG)


def test_hash_follows_the_config():
    changed = {**CONFIG, "call": {"guidance_scale": 3.6}}
    assert config_hash(make_schema(), changed) != config_hash(make_schema(), CONFIG)


def test_differences_name_fields_with_both_values():
    one = make_manifest(make_schema())
    two = make_manifest(make_schema(batch_size=4), call={"guidance_scale": 5.0}, extra=1)
    named = {
        difference.field: (difference.found, difference.expected) for difference in differences(one, two)
    }
    assert named["schema.batch_size"] == (1, 4)
    assert named["config.call.guidance_scale"] == (3.5, 5.0)
    assert repr(named["config.extra"][0]) == "<absent>"
    assert len(named) == 3


def test_differences_of_lists():
    short = make_manifest(make_schema(branches=("cond",)))
    (difference,) = differences(make_manifest(make_schema()), short)
    assert difference.field == "schema.branches"
    assert "2 entries" in str(difference)
    assert "1 entries" in str(difference)
    other = make_schema(steps=(StepSpec(1, 0.75, 750.0), StepSpec(3, 0.5, 250.0)))
    (difference,) = differences(make_manifest(make_schema()), make_manifest(other))
    assert difference.field == "schema.steps[1].sigma"


def test_equal_manifests_do_not_differ():
    assert differences(make_manifest(make_schema()), make_manifest(make_schema())) == []


def test_values_that_are_not_json_are_refused_by_name():
    with pytest.raises(InputError, match="config 'odd' of type object"):
        build_manifest(make_schema(), {"odd": object()})


def test_manifest_validates_to_its_schema():
    schema, plans = validate_manifest(json.loads(json.dumps(make_manifest(make_schema()))), "here")
    assert schema == make_schema()
    assert plans == plan_arrays(schema)


def _spoiled(**changes):
    return {**make_manifest(make_schema()), **changes}


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        (None, "without a ditscope manifest"),
        ([], "without a ditscope manifest"),
        ({"format": "other"}, "without a ditscope manifest"),
        (_spoiled(version=2), "cache version 2"),
        (_spoiled(config={"model": "other"}), "hash"),
        (_spoiled(surprise=1), "surprise"),
        (_spoiled(config=3), "manifest fields"),
        (_spoiled(requires=["frames"]), "requires frames"),
        (_spoiled(arrays={"../evil": {}}), "evil"),
        (_spoiled(arrays={"a": {"kind": "tensors"}}), "fields .* of array a"),
    ],
)
def test_other_manifests_are_refused(manifest, named):
    with pytest.raises(CacheError, match=named):
        validate_manifest(manifest, "here")
