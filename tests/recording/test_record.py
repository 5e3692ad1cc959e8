"""Recording a real pipeline, compared with plain PyTorch hooks on a separately opened one."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch
from pipeline_recording import BOTH, GUIDED, PLAIN, PROMPTS, SAMPLES, SEEDS, as_bits, bits, record

import bare_pipeline
import ditscope as ds
from ditscope.errors import CacheError, ConfigMismatchError, DitscopeError, InputError, VisitError
from ditscope.models.live_state import live_digest
from ditscope.tracing.written_call import written_call


@pytest.fixture(scope="module")
def guided_seen(untrained_folder) -> list[bare_pipeline.Seen]:
    """The bare runs of the same batches."""
    pipeline = bare_pipeline.opened(untrained_folder)
    batches = (SAMPLES[:3], SAMPLES[3:])
    return [
        bare_pipeline.generate(pipeline, *map(list, zip(*batch, strict=True)), **GUIDED) for batch in batches
    ]


def assert_hidden(
    cache: ds.Cache, sample: int, seen: bare_pipeline.Seen, row: int, branches: list[str]
) -> None:
    """Every address of a sample holds, bit for bit, what the hooks saw there."""
    wrong = []
    for site in cache.schema.site_names:
        for stream in cache.schema.stream_names:
            hidden = cache.hidden(stream, site).sel(sample=sample).compute()
            for step, branch, block in np.ndindex(len(seen.scheduler), len(branches), 10):
                expected = seen.hidden[step * len(branches) + branch, block, site, stream][row]
                stored = hidden.sel(step=step, branch=branches[branch], block=block)
                if not np.array_equal(bits(stored), as_bits(expected)):
                    wrong.append((site, stream, step, branches[branch], block))
    assert wrong == []


@pytest.mark.parametrize("sample", range(4))
def test_every_address_holds_what_plain_hooks_see_there(guided, guided_seen, sample) -> None:
    seen, row = (guided_seen[0], sample) if sample < 3 else (guided_seen[1], 0)
    assert_hidden(guided, sample, seen, row, ["cond", "uncond"])
    assert np.array_equal(guided.images.sel(sample=sample), seen.images[row])


def test_without_guidance_there_is_one_branch(dit, untrained_folder, tmp_path) -> None:
    cache = record(dit, tmp_path / "plain", PROMPTS[0], 5, PLAIN, **BOTH)
    seen = bare_pipeline.generate(bare_pipeline.opened(untrained_folder), PROMPTS[:1], [5], **PLAIN)
    assert cache.hidden().branch.values.tolist() == ["cond"]
    assert_hidden(cache, 0, seen, 0, ["cond"])
    assert np.array_equal(cache.images[0], seen.images[0])


def test_labels_are_those_of_the_run(guided, guided_seen) -> None:
    hidden = guided.hidden("image", "block_output")
    assert hidden.dims == ("sample", "step", "branch", "block", "token", "channel")
    assert hidden.shape == (4, 2, 2, 10, 32, 128)
    assert list(zip(hidden.prompt.values, hidden.seed.values, strict=True)) == SAMPLES
    sigmas, timesteps = zip(*guided_seen[0].scheduler, strict=True)
    assert hidden.sigma.values.tolist() == list(sigmas)
    assert hidden.timestep.values.tolist() == pytest.approx([value / 1000 for value in timesteps])
    assert hidden.branch.values.tolist() == ["cond", "uncond"]
    names = [f"double.{i}" for i in range(4)] + [f"single.{i}" for i in range(6)]
    assert hidden.block_name.values.tolist() == names
    assert hidden.block_kind.values.tolist() == ["double"] * 4 + ["single"] * 6
    # 16 x 32 pixels are 4 rows of 8 tokens.
    assert [(int(hidden.y[token]), int(hidden.x[token])) for token in (0, 7, 8, 31)] == [
        (0, 0),
        (0, 7),
        (1, 0),
        (3, 7),
    ]
    assert (hidden.attrs["grid_height"], hidden.attrs["grid_width"]) == (4, 8)
    text = guided.hidden("text", "block_input")
    assert text.sizes["token"] == 24
    assert bool(text.token_mask.all())


@pytest.mark.parametrize("site", BOTH["sites"])
@pytest.mark.parametrize("stream", BOTH["streams"])
def test_statistics_are_those_of_the_stored_values(guided, stream, site) -> None:
    stats = guided.stats(stream, site).load()
    values = guided.hidden(stream, site).values.astype(np.float64)
    reference = {
        "mean": values.mean(-2),
        "mean_abs": np.abs(values).mean(-2),
        "std": values.std(-2),
        "abs_max": np.abs(values).max(-2),
    }
    for name, expected in reference.items():
        np.testing.assert_allclose(
            stats[name], expected, rtol=2e-6, atol=2e-6 * np.abs(values).max(), err_msg=name
        )
    assert not stats["nonfinite"].any()
    assert (stats["count"] == values.shape[-2]).all()


def test_the_trajectory_runs_from_the_noise_to_the_image(guided, guided_seen, untrained_folder) -> None:
    latents = guided.trajectory["latents"].values
    for sample in range(4):
        seen, row = (guided_seen[0], sample) if sample < 3 else (guided_seen[1], 0)
        boundaries = [seen.latents[0], seen.latents[2], seen.latents[-1]]
        assert np.array_equal(
            bits(latents[sample]), as_bits(torch.stack([state[row] for state in boundaries]))
        )
        outputs = torch.stack([output[row] for output in seen.outputs]).unflatten(0, (2, 2))
        assert np.array_equal(
            bits(guided.trajectory["transformer_output"].sel(sample=sample)), as_bits(outputs)
        )
    noise = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(SEEDS[0]))
    packed = noise.view(1, 4, 4, 2, 8, 2).permute(0, 2, 4, 1, 3, 5).reshape(32, 16)
    assert np.array_equal(latents[0, 0], packed.numpy())

    vae = bare_pipeline.opened(untrained_folder).vae
    last = (
        torch.from_numpy(latents[:, -1]).view(4, 4, 8, 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(4, 4, 8, 16)
    )
    with torch.no_grad():
        decoded = vae.decode(last / vae.config.scaling_factor + vae.config.shift_factor).sample
    images = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(images - guided.images.values.astype(float)).max() <= 1  # another batch, other last bits


def test_bfloat16_is_stored_as_bfloat16(untrained_folder, tmp_path) -> None:
    dit = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    cache = record(dit, tmp_path / "bf16", PROMPTS[:1], SEEDS[0], **BOTH)
    assert str(cache.hidden().dtype) == "bfloat16"
    pipeline = bare_pipeline.opened(untrained_folder, torch.bfloat16)
    seen = bare_pipeline.generate(pipeline, PROMPTS[:1], SEEDS[:1], **GUIDED)
    assert_hidden(cache, 0, seen, 0, ["cond", "uncond"])
    assert np.array_equal(cache.images[0], seen.images[0])
    output = cache.trajectory["transformer_output"]
    assert np.array_equal(bits(output[0, 1, 1]), as_bits(seen.outputs[3][0]))
    exact = cache.hidden().values.astype(np.float64)
    np.testing.assert_allclose(
        cache.stats()["mean"], exact.mean(-2), rtol=2e-6, atol=1e-6 * np.abs(exact).max()
    )


@pytest.mark.parametrize(
    ("keep", "picked"),
    [
        ({"steps": [1]}, {"step": [1]}),
        ({"steps": -2}, {"step": [0]}),
        ({"blocks": ["single.2", 0, -1]}, {"block": [0, 6, 9]}),
        ({"branches": "uncond"}, {"branch": ["uncond"]}),
        ({"channels": [100, 5, 3]}, {"channel": [3, 5, 100]}),
        (
            {"steps": [-1], "blocks": [7], "branches": ["cond"], "channels": 64},
            {"step": [1], "block": [7], "branch": ["cond"], "channel": [64]},
        ),
    ],
)
def test_a_selection_keeps_the_right_values_under_the_right_labels(
    dit, guided, tmp_path, keep, picked
) -> None:
    cache = record(dit, tmp_path / "part", batch_size=3, **BOTH, **keep)
    for site in BOTH["sites"]:
        for stream in BOTH["streams"]:
            part, expected = cache.hidden(stream, site), guided.hidden(stream, site).sel(picked)
            for dim, labels in picked.items():
                assert part[dim].values.tolist() == labels
            assert part.block_name.values.tolist() == expected.block_name.values.tolist()
            assert part.sigma.values.tolist() == expected.sigma.values.tolist()
            assert np.array_equal(bits(part), bits(expected))
            stats, whole = cache.stats(stream, site), guided.stats(stream, site).sel(picked)
            # A reduction over fewer channels may be summed in another order.
            np.testing.assert_allclose(stats["std"], whole["std"], rtol=1e-5)
    assert bool(cache.hidden("text").token_mask.all())
    branches = picked.get("branch", ["cond", "uncond"])
    outputs = guided.trajectory["transformer_output"].sel(branch=branches)
    assert np.array_equal(cache.trajectory["transformer_output"], outputs)
    assert np.array_equal(cache.trajectory["latents"], guided.trajectory["latents"])


def test_statistics_alone(dit, guided, tmp_path) -> None:
    cache = record(dit, tmp_path / "stats", batch_size=3, tensors=False)
    assert cache.stats().load().equals(guided.stats().load())
    assert cache.nbytes < guided.nbytes / 10
    with pytest.raises(CacheError, match="statistics only"):
        cache.hidden()


def test_tensors_alone(dit, guided, tmp_path) -> None:
    cache = record(dit, tmp_path / "tensors", PROMPTS, SEEDS, batch_size=3, stats=False)
    assert np.array_equal(bits(cache.hidden()), bits(guided.hidden()))
    with pytest.raises(CacheError, match="without statistics"):
        cache.stats()


def test_the_forecast_is_what_the_store_takes_and_writes_nothing(dit, tmp_path) -> None:
    path = tmp_path / "store"
    with ds.record(dit, path, batch_size=2) as rec:
        forecast = rec.forecast(PROMPTS, SEEDS, **GUIDED)
        assert not path.exists()
        cache = rec.generate(PROMPTS, SEEDS, **GUIDED)
    assert forecast.total == cache.nbytes
    assert "4 samples" in str(forecast)
    assert forecast.seconds > 0


def test_the_manifest_says_what_made_the_numbers(guided, dit) -> None:
    config = guided.manifest["config"]
    assert config["model"] == dit.name
    assert config["family"] == "FLUX.1"
    assert config["live"]["pipeline"]["class"] == "diffusers.pipelines.flux.pipeline_flux.FluxPipeline"
    assert config["live"]["scheduler"]["class"].endswith(".FlowMatchEulerDiscreteScheduler")
    assert config["live"]["versions"]["diffusers"] == diffusers.__version__
    assert guided.samples["live"].tolist() == [live_digest(config["live"])] * 4
    assert config["call"]["true_cfg_scale"] == 2.5
    assert config["call"]["num_inference_steps"] == 2
    assert guided.manifest["schema"]["batch_size"] == 3
    assert guided.manifest["environment"]["versions"]["torch"] == version("torch")
    assert dit.name in repr(guided)


# What others left to the collector of garbage is none of its warnings.
@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_generate_returns_is_what_is_at_the_path(guided) -> None:
    opened = ds.open_cache(guided.path)
    for name in ("path", "manifest", "schema", "plans", "specs", "ledger", "damaged_lines"):
        assert getattr(guided, name) == getattr(opened, name), name


def test_nan_is_recorded_counted_and_reported(untrained_folder, tmp_path) -> None:
    dit = ds.load(str(untrained_folder))
    with torch.no_grad():
        dit.diffusers_pipeline.transformer.single_transformer_blocks[2].proj_out.bias[17] = torch.nan
    cache = record(dit, tmp_path / "nan", PROMPTS[0], 0, PLAIN)
    hidden = cache.hidden().values.astype(np.float32)
    stats = cache.stats().load()
    assert not np.isnan(hidden[0, 0, 0, :6]).any()
    assert np.isnan(hidden[0, 0, 0, 6]).any(axis=0).nonzero()[0].tolist() == [17]
    first = stats.sel(sample=0, step=0, branch="cond")
    assert not first["nonfinite"].sel(block=slice(0, 5)).any()
    assert first["nonfinite"].sel(block=6, channel=17) == first["count"].sel(block=6) == 32
    assert first["nonfinite"].sel(block=6).sum() == 32
    for name in ("mean", "mean_abs", "std", "abs_max"):
        assert np.array_equal(np.isnan(stats[name]), stats["nonfinite"] == stats["count"].values[..., None])
    assert np.array_equal(stats["nonfinite"], np.isnan(hidden).sum(axis=4))
    assert int(cache.nonfinite["count"].sum()) == np.isnan(hidden).sum()
    assert "NaN" in repr(cache)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"streams": ["sound"]}, "stream 'sound'"),
        ({"streams": []}, "no stream"),
        ({"sites": "mlp"}, "site 'mlp'"),
        ({"blocks": ["single.6"]}, "block 'single.6'"),
        ({"blocks": [10]}, "block 10"),
        ({"blocks": [1.5]}, "block 1.5"),
        ({"blocks": []}, "no blocks"),
        ({"steps": [2]}, "step 2"),
        ({"steps": ["first"]}, "steps=['first']"),
        ({"steps": []}, "steps=[]"),
        ({"branches": ["positive"]}, "branch 'positive'"),
        ({"branches": ["uncond"], "call": PLAIN}, "branch 'uncond' in a call that visits cond"),
        ({"channels": [128]}, "channels 128 to 128"),
        ({"channels": [-1]}, "channels -1 to -1"),
        ({"channels": "abc"}, "channels='abc'"),
        ({"tensors": False, "stats": False}, "tensors=False and stats=False"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1.5}, "batch_size=1.5"),
        ({"compression": "gzip"}, "compression 'gzip'"),
        ({"shard_bytes": 0}, "shard_bytes=0"),
        ({"text_tokens": 0}, "text_tokens=0"),
        ({"token_seed": -1}, "token_seed"),
        ({"tokens": 33}, "token 32"),
        ({"tokens": [32]}, "token 32"),
        ({"tokens": []}, "tokens="),
        ({"tokens": np.ones((8, 4), dtype=bool)}, "a mask of (8, 4) tokens"),
        ({"tokens": 3, "streams": ["text"]}, "tokens= with streams text"),
        ({"memory_budget": 10}, "memory_budget of 10 B"),
        ({"memory_budget": "10"}, "memory_budget='10'"),
        ({"prompts": []}, "no prompts"),
        ({"prompts": ["a circle", " "]}, "prompts [' ']"),
        ({"prompts": [3]}, "prompts [3]"),
        ({"seeds": []}, "seeds []"),
        ({"seeds": [1, 1]}, "seeds [1, 1]"),
        ({"seeds": 0.5}, "seeds [0.5]"),
        ({"call": {"steps": 3}}, "pipeline argument steps"),
        ({"call": {"num_inference_steps": 0}}, "num_inference_steps=0"),
        ({"call": {**GUIDED, "callback_on_step_end": "f"}}, "callback 'f'"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_any_file_is_touched(
    dit, tmp_path, arguments, named
) -> None:
    path = tmp_path / "store"
    with pytest.raises(DitscopeError, match="expected") as error:
        record(dit, path, **arguments)
    assert isinstance(error.value, InputError)
    assert named in str(error.value)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, "s3://bucket/store"])
def test_a_path_that_is_none_is_refused(dit, path) -> None:
    with pytest.raises(InputError, match="expected a path on this machine"):
        ds.record(dit, path)


def test_numbers_of_numpy_are_recorded_as_numbers(dit, tmp_path) -> None:
    call = {
        **PLAIN,
        "true_cfg_scale": np.float32(1.0),
        "sigmas": np.array([1.0, 0.5]),
        "height": np.int64(32),
    }
    del call["num_inference_steps"]
    cache = record(dit, tmp_path / "store", PROMPTS[0], 0, call, blocks=[0])
    assert cache.manifest["config"]["call"]["sigmas"] == [1.0, 0.5]


def pictures(*sizes: tuple[int, int]) -> list[PIL.Image.Image]:
    drawn = np.random.default_rng(0)
    return [PIL.Image.fromarray(drawn.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_reference_images_are_recorded_as_a_digest_of_each(tmp_path) -> None:
    import tiny

    dit = ds.load(str(tiny.save("flux2-klein-base", tmp_path / "flux2")))
    call = {"num_inference_steps": 1, "height": 16, "width": 24}
    images = pictures((64, 80), (80, 64))
    cache = record(dit, tmp_path / "store", "a red circle", 0, {**call, "image": images}, blocks=[0])
    digests = cache.manifest["config"]["call"]["image"]
    assert [digest["size"] for digest in digests] == [[80, 64], [64, 80]]
    assert digests[0]["image"] == hashlib.sha256(images[0].tobytes()).hexdigest()
    again = record(dit, tmp_path / "store", "a red circle", 0, {**call, "image": list(images)}, blocks=[0])
    assert again.complete
    with pytest.raises(ConfigMismatchError, match=r"config.call.image\[0\].image"):
        record(dit, tmp_path / "store", "a red circle", 0, {**call, "image": images[::-1]}, blocks=[0])


def halved(pipeline, step, timestep, tensors):
    return {"latents": tensors["latents"] * 0.5}


def thirded(pipeline, step, timestep, tensors):
    return {"latents": tensors["latents"] / 3}


def test_a_callback_is_obeyed_and_recorded_and_another_is_another_configuration(
    dit, untrained_folder, tmp_path
) -> None:
    call, path = {**PLAIN, "num_inference_steps": 2}, tmp_path / "store"
    cache = record(dit, path, PROMPTS[0], 5, {**call, "callback_on_step_end": halved}, blocks=[0])
    generator = torch.Generator().manual_seed(5)
    expected = bare_pipeline.opened(untrained_folder)(
        PROMPTS[0], generator=generator, callback_on_step_end=halved, output_type="np", **call
    ).images
    assert np.array_equal(cache.images, np.round(expected * 255))
    written = cache.manifest["config"]["call"]["callback_on_step_end"]
    assert written["callback"].endswith("test_record.halved")
    assert record(dit, path, PROMPTS[0], 5, {**call, "callback_on_step_end": halved}, blocks=[0]).complete
    with pytest.raises(ConfigMismatchError, match=r"callback_on_step_end\.digest"):
        record(dit, path, PROMPTS[0], 5, {**call, "callback_on_step_end": thirded}, blocks=[0])
    with pytest.raises(ConfigMismatchError, match="callback_on_step_end: found"):
        record(dit, path, PROMPTS[0], 5, call, blocks=[0])


def test_an_interrupted_run_commits_nothing(dit, tmp_path) -> None:
    def stop(pipeline, step, timestep, tensors):
        pipeline._interrupt = True
        return {}

    with pytest.raises(VisitError, match=r"interrupted at step 0 of 0 to 2"):
        record(dit, tmp_path / "store", PROMPTS[0], 5, {**PLAIN, "callback_on_step_end": stop}, blocks=[0])
    assert ds.open_cache(tmp_path / "store").committed == ()


def test_latents_alone_make_a_store_without_images(dit, tmp_path) -> None:
    call = {**PLAIN, "num_inference_steps": 2}
    with ds.record(dit, tmp_path / "latents", blocks=[0]) as rec:
        promised = rec.forecast(PROMPTS[0], 5, **call, output_type="latent")
        cache = rec.generate(PROMPTS[0], 5, **call, output_type="latent")
    assert cache.nbytes == promised.total
    assert ds.verify(tmp_path / "latents").ok
    with pytest.raises(CacheError, match="without images"):
        _ = cache.images
    whole = record(dit, tmp_path / "whole", PROMPTS[0], 5, call, blocks=[0])
    assert np.array_equal(cache.trajectory["latents"], whole.trajectory["latents"])
    assert np.array_equal(bits(cache.hidden()), bits(whole.hidden()))


def test_latents_take_the_place_of_the_seeds_noise(dit, untrained_folder, tmp_path) -> None:
    call, latents = {**PLAIN, "num_inference_steps": 1}, torch.randn(2, 32, 16)
    before = latents.clone()
    cache = record(dit, tmp_path / "store", PROMPTS, 5, {**call, "latents": latents}, blocks=[0])
    assert torch.equal(latents, before)
    assert np.array_equal(cache.trajectory["latents"][:, 0], latents)
    assert cache.hidden().seed.values.tolist() == [5, 5]
    assert [own["latents"]["shape"] for own in cache.samples["call"]] == [[1, 32, 16]] * 2
    bare = bare_pipeline.opened(untrained_folder)
    for sample, prompt in enumerate(PROMPTS):
        expected = bare(prompt, latents=latents[sample : sample + 1], output_type="np", **call).images
        assert np.array_equal(cache.images[sample], np.round(expected[0] * 255))
    # Other latents make other samples; those that are there are known again, one by one.
    more = {**call, "latents": torch.cat([latents[1:] + 1, latents[1:]])}
    grown = record(dit, tmp_path / "store", PROMPTS[1], [5, 6], more, blocks=[0])
    assert grown.samples["seed"].tolist() == [5, 5, 5, 6]
    assert record(
        dit, tmp_path / "store", PROMPTS[1], 5, {**call, "latents": latents[1:]}, blocks=[0]
    ).complete
    assert len(ds.open_cache(tmp_path / "store").specs) == 4


def test_embeddings_are_recorded_under_their_label_with_a_digest(dit, tmp_path) -> None:
    call = {**PLAIN, "num_inference_steps": 1}
    made = torch.Generator().manual_seed(0)
    config = dit.diffusers_pipeline.transformer.config
    sizes = {
        "prompt_embeds": (1, 24, config.joint_attention_dim),
        "pooled_prompt_embeds": (1, config.pooled_projection_dim),
    }
    tensors = {name: torch.randn(size, generator=made) for name, size in sizes.items()}
    prompt, path = ds.PromptEmbeds("half way", **tensors), tmp_path / "store"
    cache = record(dit, path, prompt, [5, 6], call, blocks=[0])
    assert cache.hidden().prompt.values.tolist() == ["half way"] * 2
    assert set(cache.samples["call"][0]["embeddings"]) == set(tensors)
    assert record(dit, path, prompt, [5, 6], call, blocks=[0]).complete
    other = ds.PromptEmbeds(
        "half way", **{**tensors, "pooled_prompt_embeds": -tensors["pooled_prompt_embeds"]}
    )
    # Of one label, but other samples.
    grown = record(dit, path, other, [6], call, blocks=[0])
    assert grown.samples["seed"].tolist() == [5, 6, 6]
    assert not np.array_equal(grown.images[1], grown.images[2])
    np.testing.assert_array_equal(grown.images[:2], cache.images)
    with pytest.raises(InputError, match="1 of 2 prompts as embeddings"):
        record(dit, tmp_path / "other", [prompt, "a text"], 5, call)
    assert not (tmp_path / "other").exists()


def test_images_are_written_down_at_any_depth() -> None:
    nested = {"image": [pictures((8, 8)), pictures((8, 9))]}
    written = written_call(nested)
    assert [row[0]["size"] for row in written["image"]] == [[8, 8], [9, 8]]


def test_a_recording_that_is_not_open_is_refused(dit, tmp_path) -> None:
    recording = ds.record(dit, tmp_path / "store")
    with pytest.raises(CacheError, match="use inside its with block"):
        recording.generate(PROMPTS, SEEDS, **GUIDED)
    with recording:
        pass
    with pytest.raises(CacheError, match="use inside its with block"):
        recording.generate(PROMPTS, SEEDS, **GUIDED)
    assert not (tmp_path / "store").exists()


@pytest.fixture(scope="module")
def whole(dit, folder) -> ds.Cache:
    """Every token of both prompts, a step each."""
    return record(
        dit, folder / "whole", PROMPTS, 5, ONE_STEP, sites=("block_input", "block_output"), blocks=[0, 7]
    )


ONE_STEP = {**PLAIN, "num_inference_steps": 1}
FEW = {"sites": ("block_input", "block_output"), "blocks": [0, 7]}
MASK = np.zeros((4, 8), dtype=bool)
MASK[1:3, 5] = MASK[3, 7] = True


@pytest.mark.parametrize(("tokens", "kept"), [(MASK, [13, 21, 31]), ([31, 0, 3], [0, 3, 31])])
def test_chosen_tokens_are_those_of_a_full_recording(dit, whole, tmp_path, tokens, kept) -> None:
    cache = record(dit, tmp_path / "a", PROMPTS, 5, ONE_STEP, tokens=tokens, **FEW)
    for site in FEW["sites"]:
        few = cache.hidden("image", site)
        assert few.token.values.tolist() == kept
        full = whole.hidden("image", site).sel(token=kept)
        assert np.array_equal(bits(few), bits(full))
        assert (few.y.values.tolist(), few.x.values.tolist()) == (
            full.y.values.tolist(),
            full.x.values.tolist(),
        )
        # Statistics are over all tokens.
        assert cache.stats("image", site).load().identical(whole.stats("image", site).load())
    assert np.array_equal(cache.images, whole.images)


def test_random_tokens_are_a_samples_own_in_every_recording_of_it(dit, whole, tmp_path) -> None:
    """Whatever else is in the store, and in whichever batch it is."""
    cache = record(dit, tmp_path / "a", PROMPTS, 5, ONE_STEP, tokens=6, **FEW)
    few, full = cache.hidden(), whole.hidden()
    assert few.sizes["token"] == 6
    for sample in (0, 1):
        ids = few["token_id"].sel(sample=sample).values
        assert np.array_equal(bits(few.sel(sample=sample)), bits(full.sel(sample=sample).isel(token=ids)))
    assert not np.array_equal(*few["token_id"].values)
    again = record(dit, tmp_path / "b", PROMPTS[::-1], [4, 5], ONE_STEP, tokens=6, batch_size=3, **FEW)
    named = list(zip(again.samples["prompt"], again.samples["seed"], strict=True))
    rows = [named.index((prompt, 5)) for prompt in PROMPTS]
    assert np.array_equal(again.hidden()["token_id"].values[rows], few["token_id"].values)
    np.testing.assert_allclose(again.hidden().values[rows], few.values, rtol=1e-3, atol=1e-3)
    other = record(dit, tmp_path / "c", PROMPTS, 5, ONE_STEP, tokens=6, token_seed=1, **FEW)
    assert not np.array_equal(other.hidden()["token_id"], few["token_id"])
    statistics = record(dit, tmp_path / "d", PROMPTS[0], 5, ONE_STEP, tokens=6, tensors=False, blocks=[0])
    assert ds.verify(statistics.path).ok


def test_sites_are_kept_of_the_blocks_that_have_them(dit, guided, tmp_path) -> None:
    """Of FLUX.1's blocks, the double ones alone have an attention output."""
    cache = record(dit, tmp_path / "a", sites=("attn_output", "block_output"), batch_size=3)
    attention = cache.hidden("image", "attn_output")
    assert attention.block_kind.values.tolist() == ["double"] * 4
    assert cache.stats("image", "attn_output").block.values.tolist() == [0, 1, 2, 3]
    double = record(dit, tmp_path / "b", sites=("attn_output",), blocks="double", batch_size=3)
    assert np.array_equal(bits(attention), bits(double.hidden("image", "attn_output")))
    assert np.array_equal(bits(cache.hidden()), bits(guided.hidden()))


def test_the_last_block_of_sd3_has_no_text(tmp_path) -> None:
    import tiny

    dit = ds.load(str(tiny.save("sd3", tmp_path / "sd3")))
    call = {"num_inference_steps": 1, "height": 32, "width": 32, "guidance_scale": 1.0}
    cache = record(dit, tmp_path / "a", "a red circle", 0, call, streams=("image", "text"))
    n_blocks = len(dit.blocks)
    assert cache.hidden("image").block.values.tolist() == list(range(n_blocks))
    assert cache.hidden("text").block.values.tolist() == list(range(n_blocks - 1))
    some = record(dit, tmp_path / "b", "a red circle", 0, call, streams="text", blocks=[0])
    assert np.array_equal(bits(cache.hidden("text").sel(block=[0])), bits(some.hidden("text")))


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_files_are_cut_by_shard_bytes_and_hold_the_same(dit, whole, tmp_path, compression) -> None:
    cut = {"shard_bytes": 32 * 128 * 4, "compression": compression}
    cache = record(dit, tmp_path / "a", PROMPTS, 5, ONE_STEP, **cut, **FEW)
    files = list((cache.path / "image/block_output/hidden").glob("c.0.*"))
    assert len(files) == 2  # a block each
    for site in FEW["sites"]:
        assert np.array_equal(bits(cache.hidden("image", site)), bits(whole.hidden("image", site)))
    assert ds.verify(cache.path).ok


def test_an_open_recording_says_what_it_is(dit, tmp_path) -> None:
    with ds.record(dit, tmp_path / "store", tensors=False, blocks="single") as rec:
        assert "store, open: statistics of image at block_output in 6 blocks" in repr(rec)
    assert "closed" in repr(rec)
