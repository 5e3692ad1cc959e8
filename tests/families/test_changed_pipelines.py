"""What people change on a pipeline that is open already, where a run would be recorded wrongly without a word."""

from __future__ import annotations

import pytest
import tiny
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler
from diffusers.callbacks import SD3CFGCutoffCallback
from family_calls import guided, size

import ditscope as ds
from ditscope.errors import InputError, UnsupportedError, VisitError
from ditscope.models.replaced_modules import read_modules
from ditscope.tracing.run import run_traced

SAMPLE = [(tiny.PROMPTS[0], 0)]
FLUX = {"height": 16, "width": 24, "num_inference_steps": 1}


@pytest.fixture
def fresh(folder_of):
    """Name -> a pipeline that a test may change."""
    return lambda name: ds.load(str(folder_of(name)))


@pytest.mark.parametrize("name", tiny.TINY)
def test_a_module_that_is_read_and_was_replaced_is_refused(fresh, name) -> None:
    """As peft does it with the layers that a LoRA changes: the module that nnsight reads runs no more."""
    dit = fresh(name)
    transformer = dit.diffusers_pipeline.transformer
    call = {**size(name), **guided(name), "num_inference_steps": 1}
    inner = [path for path, _ in read_modules(dit.family, transformer) if path.count(".") > 1]
    assert inner
    for path in {path.split(".", 2)[2]: path for path in inner}.values():
        kind, position, inside = path.split(".", 2)
        layout = next(each for each in dit.family.block_lists if each.kind == kind)
        block = getattr(transformer, layout.path)[int(position)]
        owner, _, last = inside.rpartition(".")
        parent = block.get_submodule(owner) if owner else block
        original = getattr(parent, last)
        setattr(parent, last, torch.nn.Sequential(original))
        with pytest.raises(UnsupportedError, match=rf"{kind}\.{position}\.{inside} replaced"):
            run_traced(dit, SAMPLE, **call)
        setattr(parent, last, original)
    run_traced(dit, SAMPLE, **call)


@pytest.mark.parametrize("inside", ["", "norm1.linear", "attn"])
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


def test_dropout_at_work_is_refused(fresh) -> None:
    dit = fresh("flux")
    dit.diffusers_pipeline.text_encoder_2.train()
    with pytest.raises(UnsupportedError, match=r"dropout at work in text_encoder_2\."):
        run_traced(dit, SAMPLE, **FLUX)
    dit.diffusers_pipeline.text_encoder_2.eval()
    run_traced(dit, SAMPLE, **FLUX)
