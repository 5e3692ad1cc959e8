"""`compare`: pairing, arithmetic, and what it refuses before the first image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

import bare_pipeline
import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.errors import ConfigMismatchError, DitscopeError, EditError, InputError
from ditscope.metrics.metric import Metric
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.models.live_state import live_state
from ditscope.plots._images import as_pixels
from ditscope.tracing.samples import pair_samples

PROMPTS = ["a red circle", "a white star"]
SEEDS = [5, 9]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}
DRAWN = ChannelSet(
    xr.DataArray(
        [[[1, 2], [3, 4], [5, 6]]] * 10, dims=("block", "draw", "rank"), coords={"block": range(10)}
    ),
    label="random 2",
    control=True,
)
# Only the last draw does not fit the model.
LATE = ChannelSet(xr.DataArray([[1], [999]], dims=("draw", "rank")))
EDITS = {
    "massive": ds.edits.zero(range(12)),
    "random": ds.edits.zero(DRAWN),
    "nothing": ds.edits.scale(range(12), 1.0),
    "denoise": ds.edits.zero([9]),
    "both": [ds.edits.zero([3], blocks=[0]), ds.edits.zero([4], stream="text")],
}
ABSENT = ds.metrics.METRICS["dino_similarity"].with_options(model="/nowhere")
RED = Metric(
    "redness",
    "mean red",
    lambda images, prompts: images[..., 0].mean(axis=(1, 2)) + 100 * np.char.count(prompts, "red"),
    unit="levels",
)


def compare(dit, edits=EDITS, prompts=PROMPTS, seeds=SEEDS, metrics=("mean_abs_difference", RED), **more):
    return ds.compare(
        dit, prompts, seeds, edits, metrics, **{"resamples": 200, "batch_size": 2, **CALL, **more}
    )


@pytest.fixture(scope="module")
def result(dit) -> xr.Dataset:
    return compare(dit)


def generate(untrained_folder, samples, **more) -> np.ndarray:
    prompts, seeds = map(list, zip(*samples, strict=True))
    return bare_pipeline.generate(
        bare_pipeline.opened(untrained_folder), prompts, seeds, **CALL, **more
    ).images


def test_labels_name_edits_samples_and_draws(dit, result) -> None:
    assert result["edit"].values.tolist() == list(EDITS)
    assert result["draws"].values.tolist() == [1, 3, 1, 1, 1]
    assert result["metric"].values.tolist() == ["mean_abs_difference", "redness"]
    assert result["value"].dims == ("metric", "edit", "draw", "sample")
    assert result["value"].shape == (2, 5, 3, 4)
    samples = list(zip(result["prompt"].values, result["seed"].values, strict=True))
    assert samples == pair_samples(PROMPTS, SEEDS)
    assert result.attrs["model"] == dit.name
    assert result.attrs["batch_size"] == 2
    # What an edit does not have is not there, rather than zero.
    have = np.isfinite(result["value"]).all(("metric", "sample"))
    assert have.values.tolist() == [
        [True, False, False],
        [True] * 3,
        [True, False, False],
        [True, False, False],
        [True, False, False],
    ]


def test_controls_are_what_the_channels_say_and_not_what_a_name_sounds_like(dit, result) -> None:
    assert result["control"].dims == ("edit",)
    assert result["control"].dtype == bool
    assert result["control"].values.tolist() == [False, True, False, False, False]
    control, tested = ds.edits.mean([3]), ds.edits.zero([3])
    pairs = {"mixed": [control, tested], "controls": [control, control], "mean": control}
    found = compare(dit, pairs, prompts=PROMPTS[0], seeds=5, metrics=["psnr"])
    assert found["control"].values.tolist() == [False, True, True]


def test_seeds_may_be_left_out(dit) -> None:
    found = ds.compare(dit, PROMPTS[0], edits={"massive": EDITS["massive"]}, metrics=["psnr"], **CALL)
    assert found["seed"].values.tolist() == [0]


def test_baselines_are_the_images_of_the_bare_pipeline(result, untrained_folder) -> None:
    samples = pair_samples(PROMPTS, SEEDS)
    expected = np.concatenate(
        [generate(untrained_folder, samples[:2]), generate(untrained_folder, samples[2:])]
    )
    assert np.array_equal(result["baseline_images"], expected)


@pytest.mark.parametrize(
    ("edit", "draw", "channels"), [("massive", 0, range(12)), ("random", 0, [1, 2]), ("random", 2, [5, 6])]
)
def test_edited_images_differ_from_their_baseline_by_the_edit_alone(
    result, untrained_folder, edit, draw, channels
) -> None:
    def zeroed(visit, block, tensor):
        tensor = tensor.clone()
        tensor[:, :, list(channels)] = 0
        return tensor

    samples = pair_samples(PROMPTS, SEEDS)[2:]
    expected = generate(untrained_folder, samples, edits={("block_output", "image"): zeroed})
    assert np.array_equal(result["images"].sel(edit=edit, draw=draw, sample=[2, 3]), expected)


def test_effects_are_edited_minus_baseline_for_one_image_and_the_score_itself_for_two(result) -> None:
    baseline = result["baseline_images"].values.astype(float)
    images = result["images"].values.astype(float)
    red = images[..., 0].mean(axis=(-1, -2)) - baseline[..., 0].mean(axis=(-1, -2))
    difference = np.abs(images - baseline).mean(axis=(-1, -2, -3)) / 255
    for edit, name in enumerate(EDITS):
        for draw in range(int(result["draws"][edit])):
            place = {"edit": name, "draw": draw}
            np.testing.assert_allclose(
                result["effect"].sel(metric="redness", **place), red[edit, draw], atol=1e-9
            )
            found = result["effect"].sel(metric="mean_abs_difference", **place)
            np.testing.assert_allclose(found, difference[edit, draw], rtol=1e-6)
    # The prompts went with their images: only the first two are red.
    own = result["baseline_value"].sel(metric="redness").values - baseline[..., 0].mean(axis=(-1, -2))
    np.testing.assert_allclose(own, [100, 100, 0, 0], atol=1e-9)
    assert np.isnan(result["baseline_value"].sel(metric="mean_abs_difference")).all()


def test_a_no_op_edit_has_no_effect(result) -> None:
    nothing = result.sel(edit="nothing", draw=0)
    assert np.array_equal(nothing["images"], result["baseline_images"])
    assert not nothing["effect"].values.any()
    assert nothing["mean"].values.tolist() == nothing["low"].values.tolist() == [0, 0]
    assert float(result["energy_removed"].sel(edit="nothing")) == 0
    assert float(result["energy_moved"].sel(edit="nothing")) == 0


def test_means_and_contrasts_are_over_draws_then_samples(result) -> None:
    by_sample = np.nanmean(result["effect"].values, axis=2)
    np.testing.assert_allclose(result["mean"], by_sample.mean(axis=-1))
    np.testing.assert_allclose(
        result["contrast_mean"], (by_sample[:, :1] - by_sample).mean(axis=-1), atol=1e-12
    )
    assert not result["contrast_mean"].sel(edit="massive").values.any()
    for name in ("", "contrast_"):
        low, middle, high = (result[f"{name}{end}"] for end in ("low", "mean", "high"))
        assert ((low <= middle + 1e-9) & (middle <= high + 1e-9)).all()


def test_firings_and_energies_are_those_of_the_edits(result, dit) -> None:
    # 2 steps, 2 branches, 10 blocks; the pair of edits fires in 1 + 10 blocks.
    assert result["fired"].sel(draw=0).values.tolist() == [40, 40, 40, 40, 44]
    assert result["fired"].sel(edit="random").values.tolist() == [40, 40, 40]
    removed = result["energy_removed_by_sample"]
    assert np.isfinite(removed.sel(edit="random")).all()
    share = removed.sel(edit="massive", draw=0)
    assert ((share > 0) & (share < 1)).all()
    # Zeroing moves what it removes.
    np.testing.assert_allclose(
        result["energy_moved"].sel(edit="massive"), result["energy_removed"].sel(edit="massive")
    )
    np.testing.assert_allclose(result["energy_removed"].sel(edit="random"), removed.sel(edit="random").mean())


def test_the_batch_size_does_not_mix_samples(dit, result) -> None:
    three = compare(dit, {"massive": EDITS["massive"]}, batch_size=3, metrics=["mean_abs_difference"])
    # Other batches, other last bits: levels may differ by a rounding.
    apart = three["images"].astype(int) - result["images"].sel(edit=["massive"], draw=[0]).astype(int)
    assert abs(apart).max() <= 2
    assert three["fired"].item() == 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": torch.Generator()}, "pipeline argument generator; expected any of"),
        ({"edits": {}}, "no edits"),
        ({"edits": None}, "no edits"),
        ({"edits": [ds.edits.zero([1])]}, "edits as a list"),
        ({"edits": {"a": []}}, "edits 'a'"),
        ({"edits": {"a": "zero"}}, "edits 'a'"),
        ({"edits": {"a": ds.edits.zero([128])}}, "channel 128"),
        ({"edits": {"a": ds.edits.zero([1], steps=[2])}}, "step 2"),
        ({"edits": {"a": ds.edits.zero([1], tokens=np.ones((8, 4), bool))}}, "a mask of 8 x 4 tokens"),
        ({"edits": {"a": ds.edits.zero([1], stream="text", tokens=[24])}}, "token 24"),
        ({"edits": {"a": ds.edits.zero(LATE)}}, "channel 999"),
        ({"prompts": []}, "no prompts"),
        ({"seeds": [1, 1]}, "seeds [1, 1]"),
        ({"metrics": ["beauty"]}, "metric 'beauty'"),
        ({"metrics": []}, "no metrics"),
        ({"metrics": ["clip_score"]}, "clip_score without a CLIP"),
        ({"metrics": ["fid"]}, "4 images for fid; expected at least 2049"),
        ({"metrics": ["place_right"]}, "the caption 'a red circle'"),
        ({"metrics": [ABSENT]}, "no DINO at"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"resamples": 0}, "resamples"),
        ({"steps": 5}, "pipeline argument steps"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_first_image(dit, monkeypatch, changes, words) -> None:
    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("an image was generated")

    monkeypatch.setattr("ditscope.experiments.running.run_traced", unexpected)
    with pytest.raises(DitscopeError, match="expected") as error:
        compare(dit, **changes)
    assert isinstance(error.value, InputError)
    assert words in str(error.value)


def test_an_edit_that_never_fires_is_an_error(dit) -> None:
    with pytest.raises(EditError, match="a branch that the call has: cond"):
        compare(dit, {"uncond": ds.edits.zero([1], branches="uncond")}, seeds=0, true_cfg_scale=1.0)


def test_a_sample_whose_own_mask_is_empty_is_no_part_of_the_means(dit) -> None:
    """A warning names it; by itself, or as all samples of a run, it is refused before the run."""
    masks = xr.DataArray(
        np.zeros((3, 32), bool),
        dims=("sample", "token"),
        coords={"prompt": ("sample", [*PROMPTS, "other"]), "seed": ("sample", [5] * 3)},
    )
    masks[0, 7:20] = masks[2] = True
    edits = {"masked": ds.edits.zero([3, 9], tokens=masks, blocks=2), "all": ds.edits.zero([3], blocks=2)}
    for batch_size in (1, 2):
        with pytest.warns(UserWarning, match=r"'masked' fired on no token of 1 of 2 samples \(1\)"):
            found = compare(dit, edits, seeds=5, batch_size=batch_size)
        assert found["fired_by_sample"].values.tolist() == [[[4, 0]], [[4, 4]]]
        assert found["fired"].values.tolist() == [[4], [4]]
        effect, value = found["effect"].values[:, :, 0], found["value"].values[:, :, 0]
        assert np.isnan(effect[:, 0, 1]).all()
        assert np.isfinite(value).all()
        assert found["mean"].values[:, 0].tolist() == effect[:, 0, 0].tolist()
        assert found["contrast_mean"].values[:, 1] == pytest.approx(effect[:, 0, 0] - effect[:, 1, 0])
    with pytest.raises(EditError, match="a mask of no token where it acts"):
        compare(dit, edits, prompts=PROMPTS[1], seeds=5)


def test_masks_that_are_empty_at_the_edits_steps_and_blocks_are_refused_before_a_run(
    dit, monkeypatch
) -> None:
    monkeypatch.setattr("ditscope.experiments.running.run_traced", lambda *a, **k: pytest.fail("a run"))
    masks = xr.DataArray(
        np.zeros((2, 2, 32), bool), dims=("step", "block", "token"), coords={"step": [0, 1], "block": [2, 5]}
    )
    masks[0, 0] = masks[1, 1] = True
    for where in ({"steps": 1, "blocks": 2}, {"steps": 0, "blocks": 5}):
        with pytest.raises(EditError, match="a mask of no token where it acts"):
            compare(dit, {"masked": ds.edits.zero([3], tokens=masks, **where)})


def test_channels_that_are_empty_in_every_sample_are_refused_before_a_run(dit, monkeypatch) -> None:
    monkeypatch.setattr("ditscope.experiments.running.run_traced", lambda *a, **k: pytest.fail("a run"))
    ids = xr.DataArray([[-1], [-1], [3]], dims=("sample", "rank"))
    with pytest.raises(EditError, match="without a channel where it acts"):
        compare(dit, {"none": ds.edits.zero(ChannelSet(ids), blocks=2)}, seeds=5)
    by_block = xr.DataArray([[[-1], [3]]] * 2, dims=("sample", "block", "rank"), coords={"block": [2, 5]})
    with pytest.raises(EditError, match="without a channel where it acts"):
        compare(dit, {"none": ds.edits.zero(ChannelSet(by_block), blocks=2)}, seeds=5)


def test_what_keeps_all_channels_fires_under_a_mask_and_changes_nothing(dit) -> None:
    """Whether its channels are given, each sample's own, or chosen in the run."""
    masks = xr.DataArray(np.zeros((2, 32), bool), dims=("sample", "token"))
    masks[0, 7:20] = masks[1, 3] = True
    every = range(dit.width)
    by_sample = ChannelSet(xr.DataArray([[*every]] * 2, dims=("sample", "rank")))
    kept = {
        name: ds.edits.keep_only(channels, tokens=masks, blocks=2)
        for name, channels in {
            "given": every,
            "own": by_sample,
            "live": ds.controls.top(dit.width),
            "live random": ds.controls.random(dit.width, draws=1),
        }.items()
    }
    for batch_size in (1, 2):
        found = compare(dit, kept, seeds=5, batch_size=batch_size)
        assert (found["fired_by_sample"] == 4).all()
        assert (found["images"] == found["baseline_images"]).all()


def test_a_frozen_match_is_that_of_the_block_that_is_edited(dit) -> None:
    ids = xr.DataArray([[[1, 2]]] * 10, dims=("block", "draw", "rank"), coords={"block": range(10)})
    ratio = xr.DataArray(
        np.linspace(0, 0.9, 10)[:, None], dims=("block", "draw"), coords={"block": range(10)}
    )
    matched = ChannelSet(ids, "image", "energy-matched to three", ratio, True, "recorded energy")
    edits = {"one": ds.edits.zero(matched, blocks=7), "two": ds.edits.zero(matched, blocks=[2, 7])}
    found = compare(dit, edits, seeds=5)["match_ratio"].values[:, 0]
    assert found == pytest.approx(np.array([[0.7, 0.7], [0.45, 0.45]]))


def test_several_edits_at_one_place_count_its_energy_once(dit) -> None:
    parts = [ds.edits.zero([3], blocks=[0]), ds.edits.zero([4], blocks=[0])]
    both = {"at once": ds.edits.zero([3, 4], blocks=[0]), "one by one": parts}
    found = compare(dit, both, prompts=PROMPTS[:1], seeds=[5], metrics=["psnr"])
    shares = found["energy_removed"].values
    assert shares[0] > 0
    assert shares[1] == pytest.approx(shares[0], rel=1e-5)


def test_a_site_that_blocks_lack_is_refused_before_the_first_image(dit, monkeypatch) -> None:
    monkeypatch.setattr(
        "ditscope.experiments.running.run_traced", lambda *a, **k: pytest.fail("an image was made")
    )
    with pytest.raises(ds.errors.UnsupportedError, match="attn_output"):
        compare(dit, {"x": ds.edits.zero([3], site="attn_output")})


def test_texts_of_each_sample_follow_it_through_a_partial_batch(dit) -> None:
    call = {**bare_pipeline.GUIDED, "num_inference_steps": 1}
    texts = ["blurred", "dark", "small"]
    edits = {"a": ds.edits.zero([3])}
    prompts = ["a red circle", "a white star", "a blue ring"]
    together = ds.compare(
        dit, prompts, edits=edits, metrics=["psnr"], batch_size=2, **{**call, "negative_prompt": texts}
    )
    alone = ds.compare(
        dit, prompts[2], edits=edits, metrics=["psnr"], **{**call, "negative_prompt": texts[2]}
    )
    assert (together["baseline_images"][2] == alone["baseline_images"][0]).all()
    with pytest.raises(InputError, match="2 texts as prompt_2 for 3 prompts and 3 samples"):
        ds.compare(dit, prompts, edits=edits, metrics=["psnr"], **{**call, "prompt_2": ["a", "b"]})


def test_a_scope_that_ends_before_the_run_does_goes_with_a_callback(dit, untrained_folder) -> None:
    def halved(pipeline, step, timestep, tensors):
        return {"latents": tensors["latents"] * 0.5}

    edits = {"early": ds.edits.zero([3], steps=[0])}
    found = compare(dit, edits, PROMPTS[:1], [5], ["psnr"], callback_on_step_end=halved)
    assert found["fired"].values.tolist() == [[20]]  # ten blocks, two branches, one step
    expected = bare_pipeline.opened(untrained_folder)(
        PROMPTS[0],
        generator=torch.Generator().manual_seed(5),
        callback_on_step_end=halved,
        output_type="np",
        **CALL,
    ).images
    assert np.array_equal(found["baseline_images"], np.round(expected * 255))
    assert "halved" in found.attrs["call"]


def test_embeddings_are_compared_under_their_labels_but_not_with_a_text(dit) -> None:
    config = dit.diffusers_pipeline.transformer.config
    prompts = [
        ds.PromptEmbeds(
            label,
            prompt_embeds=torch.full((1, 24, config.joint_attention_dim), value),
            pooled_prompt_embeds=torch.full((1, config.pooled_projection_dim), value),
        )
        for label, value in (("low", 0.1), ("high", 0.9))
    ]
    edits = {"massive": EDITS["massive"]}
    found = compare(dit, edits, prompts, [5], ["psnr"], num_inference_steps=1)
    assert found["prompt"].values.tolist() == ["low", "high"]
    assert not np.array_equal(*found["baseline_images"].values)
    assert "'low'" in found.attrs["embeddings"]
    with pytest.raises(InputError, match="redness of samples whose prompts are embeddings"):
        compare(dit, edits, prompts, [5], ["psnr", RED])


def test_a_comparison_needs_images(dit) -> None:
    with pytest.raises(InputError, match="output_type='latent'; expected images"):
        compare(dit, output_type="latent")


def test_the_live_state_is_in_the_result_and_may_not_change_on_the_way(dit, result, monkeypatch) -> None:
    assert json.loads(result.attrs["live"]) == live_state(dit)
    images: list[int] = []

    def second_changes(*_) -> None:
        images.append(1)
        if len(images) == 2:  # the baseline is done
            monkeypatch.setattr(dit.diffusers_pipeline.vae, "use_tiling", True)

    decoder = dit.diffusers_pipeline.vae.decoder
    changed = r"changed meanwhile \(\S*use_tiling: found True, expected False\)"
    with (
        decoder.register_forward_pre_hook(second_changes),
        pytest.raises(ConfigMismatchError, match=changed),
    ):
        compare(dit, {"massive": EDITS["massive"]}, prompts=PROMPTS[0], seeds=5, metrics=["psnr"])


def test_weights_that_a_callback_writes_in_place_are_found_out(dit, result) -> None:
    assert result.attrs["weights_fingerprint"] == weights_fingerprint(dit)
    weight = dit.diffusers_pipeline.transformer.x_embedder.weight
    kept, steps = weight.detach().clone(), []

    def last_writes(pipeline, step, timestep, tensors):
        steps.append(step)
        if len(steps) == 4:  # the probe has no callbacks, and two steps are of the baseline
            weight.data[0, 0] += 1
        return {}

    more = {"prompts": PROMPTS[0], "seeds": 5, "metrics": ["psnr"], "callback_on_step_end": last_writes}
    with pytest.raises(ConfigMismatchError, match=r"changed meanwhile \(weights_fingerprint: found"):
        compare(dit, {"massive": EDITS["massive"]}, **more)
    weight.data.copy_(kept)
    assert steps == [0, 1, 0, 1]


def test_a_result_goes_through_netcdf_and_its_images_are_still_drawn(result, tmp_path) -> None:
    result.to_netcdf(tmp_path / "result.nc", engine="scipy")
    again = xr.load_dataset(tmp_path / "result.nc", engine="scipy")
    for name in ("value", "mean", "images", "baseline_images"):
        np.testing.assert_array_equal(again[name], result[name])
    assert np.array_equal(as_pixels(again["images"]), result["images"])
