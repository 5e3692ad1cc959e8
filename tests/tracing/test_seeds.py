"""A generator stands where a seed may: the same noise as in the bare pipeline, and the manifest tells its state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bare_pipeline
import ditscope as ds
from ditscope.errors import InputError
from ditscope.tracing.seeds import GeneratorSeed, generators_of, seeds_of, written_generators

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}
CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int) -> torch.Generator:
    """One that has drawn before."""
    generator = seeded(seed)
    torch.randn(3, generator=generator)
    return generator


def bare(folder, prompts, **call) -> np.ndarray:
    pipeline = bare_pipeline.opened(folder)
    return np.round(pipeline(prompts, output_type="np", **CALL, **call).images * 255).astype(np.uint8)


def record(dit, path, prompts, seeds, **keep):
    with ds.record(dit, path, blocks=[0], **keep) as rec:
        return rec.generate(prompts, seeds, **CALL)


def test_several_images_of_a_prompt_are_those_of_the_bare_pipeline(
    dit, untrained_folder, prompts, tmp_path
) -> None:
    expected = bare(
        untrained_folder,
        prompts,
        num_images_per_prompt=2,
        generator=[seeded(4), drawn(9)] + [seeded(4), drawn(9)],
    )
    mine = [seeded(4), drawn(9)]
    before = [generator.get_state() for generator in mine]
    cache = record(dit, tmp_path / "a", prompts, mine, batch_size=4)
    assert np.array_equal(cache.images.values, expected)
    assert cache.images.seed.values.tolist() == [4, 9, 4, 9]
    assert all(map(torch.equal, before, (generator.get_state() for generator in mine)))
    assert not np.array_equal(
        cache.images.values, record(dit, tmp_path / "b", prompts, [4, 9], batch_size=4).images
    )
    result = ds.compare(
        dit, prompts, mine, {"none": ds.edits.scale([0], 1.0)}, ["psnr"], batch_size=4, **CALL
    )
    assert np.array_equal(result.baseline_images.values, expected)
    assert result.seed.values.tolist() == [4, 9, 4, 9]
    assert result.seed.dtype == np.int64
    assert result.attrs["generators"] == str({"9": cache.specs[1].call["generator"]})


def test_one_generator_that_draws_for_several_images_is_followed_by_its_noise(
    dit, untrained_folder, prompts, tmp_path
) -> None:
    expected = bare(untrained_folder, prompts[0], num_images_per_prompt=2, generator=drawn(9))
    size = {name: CALL[name] for name in ("height", "width")}
    noise, _ = dit.diffusers_pipeline.prepare_latents(
        2, 4, **size, dtype=dit.dtype, device=CPU, generator=drawn(9)
    )
    with ds.record(dit, tmp_path / "a", blocks=[0], batch_size=2) as rec:
        cache = rec.generate(prompts[0], [0, 1], latents=noise, **CALL)
    assert np.array_equal(cache.images.values, expected)


def test_a_recording_goes_on_with_the_same_state_alone(dit, prompts, tmp_path) -> None:
    path = tmp_path / "a"
    cache = record(dit, path, prompts[0], drawn(9))
    assert record(dit, path, prompts[0], drawn(9)).committed == (0,)
    assert set(cache.specs[0].call["generator"]) == {"device", "state"}
    for other in (9, seeded(9)):  # which are one sample more, of the same label
        grown = record(dit, path, prompts[0], other)
        assert grown.samples["seed"].tolist() == [9, 9]
        assert not np.array_equal(grown.images[0], grown.images[1])
    fresh = record(dit, tmp_path / "b", prompts[0], seeded(9))
    assert fresh.specs[0].call == {}
    assert record(dit, tmp_path / "b", prompts[0], 9).committed == (0,)


@pytest.mark.parametrize("seed", [0, 7, -1, -(2**63), 2**63 - 1])
def test_a_generator_is_known_by_its_seed(seed) -> None:
    assert seeds_of(seeded(seed)) == [seed]
    assert GeneratorSeed(seeded(seed)).is_plain(CPU)
    assert not GeneratorSeed(drawn(seed)).is_plain(CPU)
    assert not GeneratorSeed(seeded(seed)).is_plain(torch.device("meta"))


def test_numbers_and_generators_stand_beside_each_other(dit) -> None:
    given = seeds_of([np.int64(2), drawn(5)])
    assert given == [2, 5]
    made = generators_of(dit.diffusers_pipeline, given)
    assert torch.equal(made[0].get_state(), seeded(2).get_state())
    assert torch.equal(made[1].get_state(), drawn(5).get_state())
    assert set(written_generators(dit.diffusers_pipeline, [1, seeded(2), drawn(5)])) == {"5"}


@pytest.mark.parametrize("wrong", [[], "a", [3, seeded(3)], [drawn(3), seeded(3)], [1.5], [None]])
def test_what_is_no_seed_is_refused(wrong) -> None:
    with pytest.raises(InputError, match="different integers of 64 bits"):
        seeds_of(wrong)
