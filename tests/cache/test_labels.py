from store_recording import make_schema

from ditscope.cache import SampleSpec
from ditscope.cache.labels import region_labels, sample_labels, stats_labels, token_labels, trajectory_labels
from ditscope.cache.layout import plan_arrays


def whole(plan, **parts):
    """A region: the given parts of an array, and all of its other axes."""
    return tuple(slice(*parts.get(dim, (0, length))) for dim, length in plan.lengths.items())


def test_every_label_is_as_long_as_the_axis_it_names():
    schema = make_schema()
    for plan in plan_arrays(schema).values():
        stream = plan.path.split("/")[0]
        labels = trajectory_labels(schema) if plan.kind == "trajectory" else stats_labels(schema)
        if stream in schema.stream_names:
            labels |= token_labels(schema.stream(stream))
        unnamed = {"y_pixel", "x_pixel", "rgb", "latent_channel"} | (
            {"token"} if plan.kind == "trajectory" else set()
        )
        assert set(plan.dims) - unnamed <= set(labels)
        for name, (dims, values) in labels.items():
            if set(dims) <= set(plan.dims):
                assert values.shape == tuple(plan.lengths[dim] for dim in dims), (plan.path, name)


def test_the_trajectory_has_every_step_of_the_run_and_one_boundary_more():
    labels = {name: values.tolist() for name, (_, values) in trajectory_labels(make_schema(), [1]).items()}
    assert labels["step"] == [0, 1, 2, 3]
    assert labels["sigma"] == [1.0, 0.75, 0.5, 0.25]
    assert labels["timestep"] == [1000.0, 750.0, 500.0, 250.0]
    assert labels["step_boundary"] == [0, 1, 2, 3, 4]
    assert (labels["sample"], labels["seed"]) == ([1], [7])


def test_prompts_and_seeds_are_kept_as_they_were_written():
    samples = (SampleSpec("", -(2**63)), SampleSpec("ends in a nought\0", 2**63 - 1), SampleSpec(" ß ", 0))
    labels = sample_labels(make_schema(samples=samples), [2, 0, 1])
    assert labels["sample"][1].tolist() == [2, 0, 1]
    assert labels["prompt"][1].tolist() == [" ß ", "", "ends in a nought\0"]
    assert labels["seed"][1].tolist() == [0, -(2**63), 2**63 - 1]


def test_a_region_is_named_by_the_labels_and_not_by_the_positions_of_its_axes():
    schema = make_schema(sites=("attn_gate", "block_output"))
    plans = plan_arrays(schema)
    hidden = plans["image/block_output"]
    region = whole(hidden, sample=(1, 2), step=(1, 2), branch=(0, 2), block=(1, 3), channel=(24, 48))
    assert region_labels(hidden, schema, region) == {
        "array": "image/block_output",
        "stream": "image",
        "site": "block_output",
        "sample": 1,
        "step": 3,
        "branch": ("cond", "uncond"),
        "block": (1, 4),
        "channel": (27, 50),
    }
    assert region_labels(hidden, schema, whole(hidden, token=(2, 5)))["token"] == (2, 4)
    stats = plans["text/stats/block_output/mean"]
    assert region_labels(stats, schema, whole(stats, block=(2, 3)))["site"] == "block_output"
    gate = plans["text/attn_gate"]
    named = region_labels(gate, schema, whole(gate, sample=(0, 1)))
    assert (named["stream"], named["site"], named["block"]) == ("text", "attn_gate", (0, 4))


def test_a_step_of_the_trajectory_is_one_of_the_run_and_not_one_of_those_kept():
    schema = make_schema()
    plans = plan_arrays(schema)
    outputs = plans["trajectory/transformer_output"]
    named = region_labels(outputs, schema, whole(outputs, sample=(0, 1), step=(2, 3), branch=(1, 2)))
    assert named == {
        "array": "trajectory/transformer_output",
        "sample": 0,
        "step": 2,
        "branch": "uncond",
    }
    latents = plans["trajectory/latents"]
    named = region_labels(latents, schema, whole(latents, step_boundary=(4, 5)))
    assert named["step_boundary"] == 4
