"""Pipelines of other classes over the families' transformers: opened in memory, checked, recorded, given back."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from support_table import OTHER_PIPELINES
from tiny_classes import CLASSES, class_of, make
from tiny_parts import PROMPTS

import ditscope as ds
from bare_pipeline import attributes
from ditscope.errors import UnsupportedError
from ditscope.models.families import family_of, known_families
from ditscope.models.pipeline_call import call_parameters

PROMPT, SEED = PROMPTS[0], 5


@pytest.fixture(autouse=True)
def small_reference_pictures(monkeypatch) -> None:
    """Qwen-Image's editing enlarges reference pictures to a million pixels."""
    real = pipeline_qwenimage_edit.calculate_dimensions
    monkeypatch.setattr(
        pipeline_qwenimage_edit, "calculate_dimensions", lambda _, ratio: real(32 * 32, ratio)
    )
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 32 * 32)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 32 * 32)


class Plainly:
    """A run of the pipeline by itself, with hooks on the last block: every call's image stream, and the latents."""

    def __init__(self, pipeline, name: str, call: dict) -> None:
        of, tokens = CLASSES[name].of, CLASSES[name].tokens
        self.hidden, self.outputs, self.latents = [], [], []
        last = plain_hooks.blocks_of(pipeline)[-1]

        def after(module, args, kwargs, output) -> None:
            if isinstance(output, tuple):
                image = output[0 if of in plain_hooks.IMAGE_FIRST else 1]
            else:
                image = output[:, 0 if of in plain_hooks.IMAGE_ONLY else call["max_sequence_length"] :]
            self.hidden.append(image[:, :tokens].clone())

        def at_step_end(pipe, step, timestep, tensors):
            self.latents.append(tensors["latents"].clone())
            return {}

        handles = [last.register_forward_hook(after, with_kwargs=True)]
        handles.append(
            pipeline.transformer.register_forward_hook(
                lambda m, a, output: self.outputs.append(output[0].clone())
            )
        )
        if "callback_on_step_end" in call_parameters(type(pipeline)):
            call = {**call, "callback_on_step_end": at_step_end}
        generator = [torch.Generator().manual_seed(SEED)]
        try:
            self.images = pipeline(prompt=[PROMPT], generator=generator, output_type="np", **call).images
        finally:
            for handle in handles:
                handle.remove()


UNSEEDED = (
    "StableDiffusion3ControlNetPipeline",
    "StableDiffusion3ControlNetInpaintingPipeline",
    "CogView4ControlPipeline",
)
"""They encode the control picture with noise of torch's global generator."""


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in UNSEEDED])
def test_a_pipeline_of_another_class_is_followed_and_given_back(folder_of, tmp_path, name) -> None:
    pipeline, made = make(name, folder_of), CLASSES[name]
    call = dict(made.call)
    plain = Plainly(pipeline, name, call)
    before = attributes(pipeline)
    with ds.load(pipeline) as dit:
        assert dit.name == name
        assert dit.family.name == tiny.TINY[made.of].family
        report = dit.check(PROMPT, **call)
        assert report.ok, report
        last = len(dit.blocks) - 1
        with ds.record(dit, tmp_path / "a.zarr", streams=["image"], blocks=[last]) as rec:
            cache = rec.generate(PROMPT, SEED, **call)
        if made.conditioned:
            assert dit.run_state.inputs["hidden_states"].shape[2] == 16 + made.conditioned
    assert np.array_equal(cache.images.values, np.round(plain.images * 255).astype(np.uint8))
    hidden = cache.hidden().isel(sample=0, block=0).transpose("step", "branch", "token", "channel").load()
    branches = list(hidden["branch"].values)
    assert branches == (["cond"] if made.of == "flux" else ["cond", "uncond"])
    doubled = made.of in plain_hooks.DOUBLED
    for number in range(hidden.sizes["step"]):
        for branch in branches:
            visit, rows = plain_hooks.branch_rows(made.of, len(branches) > 1, number, branch, images=1)
            seen = plain.hidden[visit][rows][0].numpy()
            assert np.array_equal(hidden.isel(step=number).sel(branch=branch).values, seen), (number, branch)
    trajectory = cache.trajectory.isel(sample=0)
    if plain.latents[0].ndim == 3:  # the pipeline's own tokens
        assert np.array_equal(trajectory["latents"].values[1:], torch.cat(plain.latents).numpy())
        made_of = [output[0, : made.tokens].numpy() for output in plain.outputs]
        by_visit = trajectory["transformer_output"].transpose("step", "branch", ...).values
        assert np.array_equal(by_visit.reshape(-1, *made_of[0].shape), made_of)
    assert len(plain.hidden) == hidden.sizes["step"] * (1 if doubled else len(branches))
    assert attributes(pipeline) == before


@pytest.mark.parametrize("name", UNSEEDED)
def test_noise_that_no_seed_decides_is_refused_by_name(folder_of, tmp_path, name) -> None:
    call = dict(CLASSES[name].call)
    with ds.load(make(name, folder_of)) as dit:
        dit.generate(PROMPT, **call)
        with pytest.raises(UnsupportedError, match=rf"a {name} that draws noise from torch's global"):
            dit.check(PROMPT, **call)
        with (
            ds.record(dit, tmp_path / "a.zarr", streams=["image"]) as rec,
            pytest.raises(UnsupportedError, match="noise that the call's seeds decide"),
        ):
            rec.generate(PROMPT, SEED, **call)
    assert not (tmp_path / "a.zarr").exists()


def test_the_table_of_support_names_these_classes() -> None:
    assert set(CLASSES) - set(UNSEEDED) == set(OTHER_PIPELINES)


REFUSED = [(name, why) for family in known_families() for name, why in family.refused.items()]


@pytest.mark.parametrize(("name", "why"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_a_family_cannot_describe_is_refused_by_name(name, why) -> None:
    kind = class_of(name)
    derived = type("Mine", (kind,), {})
    for each, called in ((name, name), (kind, name), (derived, "Mine")):
        with pytest.raises(UnsupportedError, match=f"class {called}, in which {why}"):
            family_of(each)


def test_perturbed_attention_is_refused_by_name(folder_of) -> None:
    call = {**CLASSES["SanaPAGPipeline"].call, "pag_scale": 3.0}
    with (
        ds.load(make("SanaPAGPipeline", folder_of)) as dit,
        pytest.raises(UnsupportedError, match=r"pag_scale.*Pass pag_scale=0\.0"),
    ):
        dit.check(PROMPT, **call)
