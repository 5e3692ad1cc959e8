import dataclasses

from store_recording import make_schema

from ditscope.cache import SampleSpec, StoredSite, StreamSpec
from ditscope.cache.labels import (
    in_words,
    region_labels,
    sample_labels,
    site_labels,
    statistic_labels,
    token_labels,
    trajectory_labels,
)
from ditscope.cache.layout import plan_arrays


def whole(plan, **parts):
    """A region: the given parts of a sample, and all of its other axes."""
    return tuple(slice(*parts.get(dim, (0, length))) for dim, length in plan.lengths.items())


def test_every_label_is_as_long_as_the_axis_it_names():
    image, text = StreamSpec("image", 12, 3, 4, token_ids=(2, 5)), StreamSpec("text", 5)
    few = StoredSite.of("image", "attn_output", (1,), "bfloat16")
    schema = make_schema(sites=("attn_gate", "block_output", few), streams=(image, text))
    plans = plan_arrays(schema)
    for site in schema.sites:
        for plan in (plan for plan in plans.values() if plan.path.startswith(f"{site.folder}/")):
            labels = site_labels(schema, site) | token_labels(schema.stream(site.stream))
            labels |= statistic_labels(schema)
            assert set(plan.dims) <= set(labels), plan.path
            for name, (dims, values) in labels.items():
                if set(dims) <= set(plan.dims):
                    assert values.shape == tuple(plan.lengths[dim] for dim in dims), (plan.path, name)
    labels = trajectory_labels(schema)
    for name in ("step", "sigma", "branch"):
        dims, values = labels[name]
        assert values.shape == tuple(plans["trajectory/transformer_output"].lengths[dim] for dim in dims)


def test_a_site_has_the_labels_of_its_own_blocks():
    schema = make_schema(sites=(StoredSite.of("image", "attn_output", (0, 4), "bfloat16"),))
    labels = site_labels(schema, schema.sites[0])
    assert labels["block"][1].tolist() == [0, 4]
    assert labels["block_name"][1].tolist() == ["double.0", "double.4"]


def test_tokens_are_named_by_their_place_on_the_grid_or_in_the_draw():
    def of(**choice):
        return {
            name: v.tolist() for name, (_, v) in token_labels(StreamSpec("image", 6, 2, 3, **choice)).items()
        }

    assert of() == {"token": [0, 1, 2, 3, 4, 5], "y": [0, 0, 0, 1, 1, 1], "x": [0, 1, 2, 0, 1, 2]}
    assert of(token_ids=(1, 5)) == {"token": [1, 5], "y": [0, 1], "x": [1, 2]}
    assert of(random_tokens=2) == {"token": [0, 1]}
    assert len(token_labels(StreamSpec("image", 6, 2, 3, token_ids=(1,)), kept=False)["token"][1]) == 6


def test_the_trajectory_has_every_step_of_the_run_and_one_boundary_more():
    labels = {name: values.tolist() for name, (_, values) in trajectory_labels(make_schema()).items()}
    assert labels["step"] == [0, 1, 2, 3]
    assert labels["sigma"] == [1.0, 0.75, 0.5, 0.25]
    assert labels["timestep"] == [1000.0, 750.0, 500.0, 250.0]
    assert labels["step_boundary"] == [0, 1, 2, 3, 4]


def test_prompts_and_seeds_are_kept_as_they_were_written():
    samples = (SampleSpec("", -(2**63)), SampleSpec("ends in a nought\0", 2**63 - 1), SampleSpec(" ß ", 0))
    labels = sample_labels(samples, [2, 0, 1])
    assert labels["sample"][1].tolist() == [2, 0, 1]
    assert labels["prompt"][1].tolist() == [" ß ", "", "ends in a nought\0"]
    assert labels["seed"][1].tolist() == [0, -(2**63), 2**63 - 1]
    assert sample_labels(samples)["sample"][1].tolist() == [0, 1, 2]


def test_a_region_is_named_by_the_labels_and_not_by_the_positions_of_its_axes():
    schema = make_schema(sites=("attn_gate", "block_output"))
    plans = plan_arrays(schema)
    hidden = plans["image/block_output/hidden"]
    region = whole(hidden, step=(1, 2), branch=(0, 2), block=(1, 3), channel=(24, 48))
    named = region_labels(hidden, schema, 1, region)
    assert named == {
        "array": "image/block_output/hidden",
        "stream": "image",
        "site": "block_output",
        "sample": 1,
        "step": 3,
        "branch": ("cond", "uncond"),
        "block": (1, 4),
        "channel": (27, 50),
    }
    assert in_words(named).endswith("sample 1, step 3, branch cond to uncond, block 1 to 4, channel 27 to 50")
    assert region_labels(hidden, schema, 0, whole(hidden, token=(2, 5)))["token"] == (2, 4)
    statistics = plans["text/block_output/statistics/over_tokens"]
    named = region_labels(statistics, schema, 0, whole(statistics, block=(2, 3), statistic=(2, 3)))
    assert (named["site"], named["block"], named["statistic"]) == ("block_output", 4, "std")
    gate = plans["text/attn_gate/values"]
    named = region_labels(gate, schema, 0, whole(gate))
    assert (named["stream"], named["site"], named["block"]) == ("text", "attn_gate", (0, 4))
    mask = plans["text/token_mask"]
    assert region_labels(mask, schema, 1, whole(mask, branch=(1, 2))) == {
        "array": "text/token_mask",
        "stream": "text",
        "sample": 1,
        "branch": "uncond",
    }


def test_chosen_tokens_are_named_by_their_ids():
    schema = make_schema(streams=(StreamSpec("image", 12, 3, 4, token_ids=(2, 5, 11)),))
    hidden = plan_arrays(schema)["image/block_output/hidden"]
    assert region_labels(hidden, schema, 0, whole(hidden, token=(1, 3)))["token"] == (5, 11)


def test_a_step_of_the_trajectory_is_one_of_the_run_and_not_one_of_those_kept():
    schema = dataclasses.replace(make_schema(), shard_bytes=1)
    plans = plan_arrays(schema)
    outputs = plans["trajectory/transformer_output"]
    named = region_labels(outputs, schema, 0, whole(outputs, step=(2, 3), branch=(1, 2)))
    assert named == {"array": "trajectory/transformer_output", "sample": 0, "step": 2, "branch": "uncond"}
    latents = plans["trajectory/latents"]
    assert region_labels(latents, schema, 0, whole(latents, step_boundary=(4, 5)))["step_boundary"] == 4
