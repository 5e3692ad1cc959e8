import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditscope.cache.samples import SampleSpec, join
from ditscope.errors import InputError

specs = st.builds(
    SampleSpec,
    st.sampled_from(["", "a", "ü\ud800"]),
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1),
    st.sampled_from([{}, {"negative_prompt": "b"}, {"guidance_scale": [1, None]}]),
    st.sampled_from([{}, {"class": 3}]),
)


@given(spec=specs)
def test_json_round_trip(spec):
    assert SampleSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_columns_are_no_part_of_which_sample_it_is_and_call_differences_are():
    spec = SampleSpec("a", 0, {"x": 1, "y": 2}, {"class": 1})
    assert spec.identity == SampleSpec("a", 0, {"y": 2, "x": 1}, {"class": 2}).identity
    others = [SampleSpec("b", 0, spec.call), SampleSpec("a", 1, spec.call), SampleSpec("a", 0, {"x": 1})]
    assert len({spec.identity, *(other.identity for other in others)}) == 4


@given(known=st.lists(specs, unique_by=lambda s: s.identity), asked=st.lists(specs))
def test_samples_are_joined_behind_those_that_there_are(known, asked):
    names = [spec.identity for spec in asked]
    if len(set(names)) < len(names):
        with pytest.raises(InputError, match="more than once"):
            join(known, asked)
        return
    new, positions = join(known, asked)
    every = [*known, *new]
    assert [every[at].identity for at in positions] == names
    assert new == [spec for spec in asked if spec.identity not in {one.identity for one in known}]


def test_a_sample_that_is_asked_for_twice_is_named():
    with pytest.raises(InputError, match="'a' with seed 3 more than once"):
        join([SampleSpec("a", 3)], [SampleSpec("b", 3), SampleSpec("a", 3), SampleSpec("a", 3, {}, {"c": 1})])


@pytest.mark.parametrize(
    "build",
    [
        lambda: SampleSpec(3, 0),
        lambda: SampleSpec("a", 2**63),
        lambda: SampleSpec("a", True),
        lambda: SampleSpec("a", 0, {"x": object()}),
        lambda: SampleSpec("a", 0, columns={"x": float("nan")}),
        lambda: SampleSpec.from_json({"prompt": "a"}),
        lambda: SampleSpec.from_json({"prompt": "a", "seed": 0, "odd": 1}),
        lambda: SampleSpec.from_json({"prompt": "a", "seed": 0, "call": 3}),
        lambda: SampleSpec.from_json([1]),
    ],
)
def test_what_is_no_sample_is_refused(build):
    with pytest.raises(InputError, match="expected"):
        build()
