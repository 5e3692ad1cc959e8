"""What people change on a pipeline that is open already: followed, or refused where a run would be read wrongly."""

from __future__ import annotations

import copy

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler
from diffusers.callbacks import SD3CFGCutoffCallback
from family_calls import guided, size
from peft import LoraConfig

import ditscope as ds
from ditscope.errors import InputError, UnsupportedError, VisitError
from ditscope.tracing.run import run_traced

SAMPLE = [(tiny.PROMPTS[0], 0)]
FLUX = {"height": 16, "width": 24, "num_inference_steps": 1}


@pytest.fixture
def fresh(folder_of):
    """Name -> a pipeline that a test may change."""
    return lambda name: ds.load(str(folder_of(name)))


def gates(dit) -> list[torch.Tensor]:
    """The gate of attention of every block in a run."""
    found: list[torch.Tensor] = []

    def at_visit(visit) -> None:
        found.extend(block.read("attn_gate", "image").clone() for block in dit.blocks)

    run_traced(dit, SAMPLE, at_visit, **FLUX)
    return found


def expected_gates(pipeline) -> list[torch.Tensor]:
    """The same as plain hooks see it, on a pipeline that nothing reads meanwhile."""
    found, handles = [], []

    def keep(module, args, output) -> None:
        found.append(output.chunk(output.shape[-1] // 32, dim=-1)[2][:, None])

    for block in plain_hooks.blocks_of(pipeline):
        source = block.norm1 if hasattr(block, "norm1") else block.norm
        handles.append(source.linear.register_forward_hook(keep))
    call = {**tiny.TINY["flux"].call, **FLUX, "generator": torch.Generator().manual_seed(0)}
    pipeline(SAMPLE[0][0], output_type="latent", **call)
    for handle in handles:
        handle.remove()
    return found


class Hiding(torch.nn.Module):
    """Around a module that is no longer among the pipeline's modules, but runs."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.kept = [inner]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.kept[0](x)


def another_transformer(pipeline) -> None:
    pipeline.transformer = copy.deepcopy(pipeline.transformer)
    for parameter in pipeline.transformer.parameters():
        parameter.data *= 0.5


def another_block(pipeline) -> None:
    blocks = pipeline.transformer.transformer_blocks
    blocks[1] = copy.deepcopy(blocks[0])


def a_block_more(pipeline) -> None:
    blocks = pipeline.transformer.transformer_blocks
    blocks.append(copy.deepcopy(blocks[0]))


def blocks_exchanged(pipeline) -> None:
    pipeline.transformer.transformer_blocks = pipeline.transformer.transformer_blocks[::-1]


def hide(pipeline) -> None:
    norm = pipeline.transformer.transformer_blocks[1].norm1
    norm.linear = Hiding(norm.linear)


@pytest.mark.parametrize(
    ("change", "n_double"),
    [
        (another_transformer, 2),
        (another_block, 2),
        (a_block_more, 3),
        (lambda pipeline: pipeline.transformer.transformer_blocks.pop(0), 1),
        (blocks_exchanged, 2),
        (hide, 2),
    ],
    ids=["transformer", "block", "a block more", "a block less", "exchanged", "hidden inside"],
)
def test_what_is_in_the_place_of_a_module_is_read(fresh, folder_of, change, n_double) -> None:
    dit, pipeline = fresh("flux"), DiffusionPipeline.from_pretrained(folder_of("flux"))
    before, kept = gates(dit), dit.blocks
    for each in (dit.diffusers_pipeline, pipeline):
        change(each)
    found, expected = gates(dit), expected_gates(pipeline)
    assert [a.equal(b) for a, b in zip(found, expected, strict=True)] == [True] * (n_double + 2)
    assert not all(a.equal(b) for a, b in zip(found, before, strict=False))
    assert [block.name for block in dit.blocks[:n_double]] == [f"double.{i}" for i in range(n_double)]
    assert [block.index for block in dit.blocks] == list(range(n_double + 2))
    assert dit.blocks[0] is kept[0]
    assert dit.blocks[-1] is kept[-1]
    assert dit.transformer.transformer_blocks[0] is dit.blocks[0]


def test_a_recording_has_the_share_of_a_lora_that_came_after_opening(fresh, folder_of, tmp_path) -> None:
    dit, pipeline = fresh("flux"), DiffusionPipeline.from_pretrained(folder_of("flux"))
    before = gates(dit)
    for each in (dit.diffusers_pipeline, pipeline):
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules=["norm1.linear", "norm.linear"], init_lora_weights=False)
        each.transformer.add_adapter(config)
    with ds.record(dit, tmp_path / "a.zarr", streams=["image"], sites=["attn_gate"]) as recording:
        cache = recording.generate(SAMPLE[0][0], SAMPLE[0][1], **FLUX)
    recorded = cache.hidden("image", "attn_gate").values[0, 0, 0]
    assert np.array_equal(recorded, torch.cat(expected_gates(pipeline))[:, 0].numpy())
    assert not np.isclose(recorded, torch.cat(before)[:, 0].numpy()).all(axis=1).any()


def test_an_offloaded_transformer_that_takes_the_place_is_read_with_its_tables(fresh, folder_of) -> None:
    dit, read = fresh("sana"), []
    call = {"height": 64, "width": 96, "num_inference_steps": 1}

    def gate(_) -> None:
        read.append(dit.blocks[0].read("attn_gate", "image").clone())

    before = run_traced(dit, SAMPLE, gate, **call)
    pipeline = dit.diffusers_pipeline
    pipeline.transformer = type(pipeline.transformer).from_pretrained(folder_of("sana") / "transformer")
    pipeline.transformer.enable_group_offload(torch.device("cpu"), torch.device("cpu"), "leaf_level")
    for number in (1, 2):
        assert np.array_equal(run_traced(dit, SAMPLE, gate, **call).images, before.images)
        assert torch.equal(read[number], read[0])


def test_a_module_in_two_places_is_refused(fresh) -> None:
    dit = fresh("flux")
    blocks = dit.diffusers_pipeline.transformer.transformer_blocks
    own = blocks[1].ff
    blocks[1].ff = blocks[0].ff
    with pytest.raises(UnsupportedError, match=r"one module as double\.0\.ff and double\.1\.ff"):
        gates(dit)
    blocks[1].ff = own
    dit.diffusers_pipeline.transformer.extra = own
    gates(dit)
    blocks[1].ff = torch.nn.Sequential(own)
    for _ in range(2):
        with pytest.raises(UnsupportedError, match="had two places in the pipeline, replaced in one of them"):
            gates(dit)


def test_a_module_that_a_callback_replaces_on_the_way_is_refused_when_the_run_is_over(fresh) -> None:
    dit = fresh("flux")
    norm = dit.diffusers_pipeline.transformer.transformer_blocks[1].norm1

    def load(pipeline, step, timestep, tensors):
        norm.linear = torch.nn.Sequential(norm.linear)
        return {}

    with pytest.raises(UnsupportedError, match=r"double\.1\.norm1\.linear replaced while the run was read"):
        run_traced(dit, SAMPLE, **{**FLUX, "num_inference_steps": 2}, callback_on_step_end=load)
    run_traced(dit, SAMPLE, **FLUX)


def test_persistent_edits_of_nnsight_are_refused_where_visits_are_read(fresh) -> None:
    dit = fresh("flux")
    images = dit.generate(SAMPLE[0][0], seed=0, output_type="np", **FLUX).images
    with dit.edit() as (_, edited):
        edited.blocks[0].image[:] = 0
    actions = (
        lambda model: run_traced(model, SAMPLE, **FLUX),
        lambda model: model.check(**FLUX),
        lambda model: ds.compare(model, "a", edits={"a": ds.edits.zero([1])}, metrics=["psnr"], **FLUX),
    )
    for action in actions:
        with pytest.raises(UnsupportedError, match=r"1 persistent edits of nnsight .*dit.clear_edits"):
            action(edited)
    assert not np.array_equal(edited.generate(SAMPLE[0][0], seed=0, output_type="np", **FLUX).images, images)
    run_traced(dit, SAMPLE, **FLUX)
    with dit.edit(inplace=True):
        dit.blocks[0].image[:] = 0
    with pytest.raises(UnsupportedError, match="persistent edits"):
        run_traced(dit, SAMPLE, **FLUX)
    dit.clear_edits()
    run_traced(dit, SAMPLE, **FLUX)


@pytest.mark.parametrize("inside", ["", "norm1", "norm1.linear", "attn"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_forward_hook_where_something_is_read_is_refused(fresh, inside, kind) -> None:
    dit = fresh("flux")
    block = dit.diffusers_pipeline.transformer.transformer_blocks[1]
    handle = getattr(block.get_submodule(inside), kind)(lambda *_: None)
    with pytest.raises(
        UnsupportedError, match=rf"a forward hook on double\.1{'.' if inside else ''}{inside}"
    ):
        run_traced(dit, SAMPLE, **FLUX)
    handle.remove()
    run_traced(dit, SAMPLE, **FLUX)


def test_a_forward_hook_on_the_transformer_is_refused_but_not_one_before_it(fresh) -> None:
    dit = fresh("flux")
    transformer = dit.diffusers_pipeline.transformer
    transformer.register_forward_pre_hook(lambda *_: None)
    run_traced(dit, SAMPLE, **FLUX)
    transformer.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="a forward hook on transformer"):
        run_traced(dit, SAMPLE, **FLUX)


def test_embeddings_beside_a_prompt_are_refused(opened, tmp_path) -> None:
    dit = opened("flux")
    embeds = torch.zeros(1, 14, 32)
    with (
        pytest.raises(InputError, match="prompt_embeds beside a prompt"),
        dit.generate(SAMPLE[0][0], prompt_embeds=embeds, **FLUX),
    ):
        pass
    for name in ("prompt_embeds", "pooled_prompt_embeds"):
        with pytest.raises(InputError, match=f"{name} beside the prompts"):
            ds.compare(dit, "a", edits={"a": ds.edits.zero([1])}, metrics=["psnr"], **{**FLUX, name: embeds})
        with (
            pytest.raises(InputError, match=f"{name} beside the prompts"),
            ds.record(dit, tmp_path / name) as recording,
        ):
            recording.generate("a", **{**FLUX, name: embeds})
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("samples", [SAMPLE, SAMPLE * 2], ids=["one sample", "two samples"])
def test_guidance_that_is_switched_off_on_the_way_is_refused(opened, samples) -> None:
    """A batch of two halves becomes one of the cond branch alone."""
    cut_off = SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0)
    call = {**size("sd3"), **guided("sd3"), "num_inference_steps": 2, "callback_on_step_end": cut_off}
    rows = len(samples)
    with pytest.raises(
        VisitError, match=f"{rows} rows passed to the transformer at visit 1; expected {2 * rows}"
    ):
        run_traced(opened("sd3"), samples, **call)


@pytest.mark.parametrize(
    "scheduler",
    [lambda: FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), FlowMatchLCMScheduler],
)
def test_noise_that_no_seed_decides_is_refused(fresh, scheduler) -> None:
    dit = fresh("flux")
    dit.diffusers_pipeline.scheduler = scheduler()
    with pytest.raises(UnsupportedError, match="draws noise from torch's global generator"):
        run_traced(dit, SAMPLE, **FLUX)


def test_noise_that_is_drawn_on_the_way_is_refused(fresh) -> None:
    """By a callback, a scheduler of one's own, or a hook on a module that is not read."""

    def jitter(pipeline, step, timestep, tensors):
        return {"latents": tensors["latents"] + torch.randn_like(tensors["latents"])}

    def seeded(pipeline, step, timestep, tensors):
        own = torch.Generator().manual_seed(step)
        return {"latents": tensors["latents"] + torch.randn(tensors["latents"].shape, generator=own)}

    class Drawing(FlowMatchEulerDiscreteScheduler):
        def step(self, output, *args, **kwargs):
            return super().step(output + torch.randn_like(output), *args, **kwargs)

    dit, drawn = fresh("flux"), "draws noise from torch's global generator in its steps"
    run_traced(dit, SAMPLE, callback_on_step_end=seeded, **FLUX)
    with pytest.raises(UnsupportedError, match=drawn):
        run_traced(dit, SAMPLE, callback_on_step_end=jitter, **FLUX)
    pipeline = dit.diffusers_pipeline
    hook = pipeline.vae.decoder.register_forward_hook(
        lambda module, args, output: torch.dropout(output, 0.1, True)
    )
    with hook, pytest.raises(UnsupportedError, match=drawn):
        run_traced(dit, SAMPLE, **FLUX)
    pipeline.scheduler = Drawing.from_config(pipeline.scheduler.config)
    with pytest.raises(UnsupportedError, match=drawn):
        run_traced(dit, SAMPLE, **FLUX)


def test_dropout_at_work_is_refused(fresh) -> None:
    dit = fresh("flux")
    dit.diffusers_pipeline.text_encoder_2.train()
    with pytest.raises(UnsupportedError, match=r"dropout at work in text_encoder_2\."):
        run_traced(dit, SAMPLE, **FLUX)
    dit.diffusers_pipeline.text_encoder_2.eval()
    run_traced(dit, SAMPLE, **FLUX)
