"""A pipeline in memory: opened as it is, given back as it was, refused where it cannot be."""

from __future__ import annotations

import functools
import gc

import accelerate
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxImg2ImgPipeline
from nnsight.intervention.source import STATE
from peft import LoraConfig

import bare_pipeline
import ditscope as ds
from bare_pipeline import attributes
from ditscope.errors import UnsupportedError
from ditscope.models._internals.forwards import is_traced, wrapped_forward
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 1, **bare_pipeline.PLAIN}
PROMPT, SEED = "a small red circle at the left on a plain blue background", 3
CPU = torch.device("cpu")


@pytest.fixture
def pipeline(untrained_folder):
    """A pipeline of its owner's, who does not like progress bars."""
    made = DiffusionPipeline.from_pretrained(untrained_folder)
    made.set_progress_bar_config(disable=True, desc="mine")
    return made


def image(pipeline) -> np.ndarray:
    return bare_pipeline.generate(pipeline, [PROMPT], [SEED], **CALL).images


def traced_image(dit) -> np.ndarray:
    return run_traced(dit, [(PROMPT, SEED)], lambda visit: dit.blocks[0].image.clone(), **CALL).images


def wrap_with_accelerate(pipeline) -> None:
    accelerate.cpu_offload(pipeline.transformer, CPU)
    accelerate.cpu_offload_with_hook(pipeline.text_encoder, CPU)


def wrap_with_diffusers(pipeline) -> None:
    pipeline.transformer.enable_layerwise_casting(torch.float32, torch.float32)


def wrap_with_both(pipeline) -> None:
    wrap_with_diffusers(pipeline)
    wrap_with_accelerate(pipeline)


def set_a_forward_and_hooks(pipeline) -> None:
    pipeline.vae.decoder.forward = functools.partial(pipeline.vae.decoder.forward)
    pipeline.text_encoder_2.register_forward_hook(lambda *_: None)
    pipeline.transformer.register_forward_pre_hook(lambda *_: None)


def load_a_lora(pipeline) -> None:
    torch.manual_seed(0)
    adapter = LoraConfig(r=2, init_lora_weights=False, target_modules=["norm1.linear", "to_q"])
    pipeline.transformer.add_adapter(adapter, "style")


def wrap_an_own_forward(pipeline) -> None:
    decode = pipeline.vae.decoder.forward
    pipeline.vae.decoder.forward = lambda *args, **kwargs: 0.5 * decode(*args, **kwargs)
    accelerate.cpu_offload_with_hook(pipeline.vae.decoder, CPU)


WRAPS = [wrap_with_accelerate, wrap_with_diffusers, set_a_forward_and_hooks]
CHANGES = [None, *WRAPS, wrap_with_both, load_a_lora, wrap_an_own_forward]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: getattr(change, "__name__", "nothing"))
def test_what_was_there_before_opening_is_there_again_after_closing(pipeline, change) -> None:
    if change is not None:
        change(pipeline)
    expected, before, own = image(pipeline), attributes(pipeline), dict(vars(pipeline))
    with ds.load(pipeline) as dit:
        assert dit.diffusers_pipeline is pipeline
        assert all(STATE in found for found in attributes(pipeline).values())
        assert np.array_equal(traced_image(dit), expected)
    assert attributes(pipeline) == before
    assert {name: vars(pipeline)[name] for name in own} == own
    assert np.array_equal(image(pipeline), expected)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        *[(None, change) for change in WRAPS],
        (wrap_with_diffusers, wrap_with_accelerate),
        (wrap_with_accelerate, wrap_with_diffusers),
    ],
)
def test_what_its_owner_sets_while_it_is_open_stays(pipeline, untrained_folder, before, change) -> None:
    if before is not None:
        before(pipeline)
    expected = image(bare_pipeline.opened(untrained_folder))
    dit = ds.load(pipeline)
    change(pipeline)
    assert np.array_equal(image(pipeline), expected)  # a first run leaves an empty registry of hooks
    while_open = attributes(pipeline)
    dit.close()
    for name, found in attributes(pipeline).items():
        assert STATE not in found
        for hooks in ("_hf_hook", "_diffusers_hook", "_forward_hooks", "_forward_pre_hooks"):
            assert found.get(hooks) is while_open[name].get(hooks)
        set_by_owner = while_open[name]["forward"]
        assert found.get("forward") is (None if is_traced(set_by_owner) else set_by_owner)
    for module in pipeline.transformer.modules():
        chain = [module.forward]
        while (inner := wrapped_forward(chain[-1])) is not None:
            chain.append(inner)
        assert not any(map(is_traced, chain))
    assert np.array_equal(image(pipeline), expected)
    pipeline.remove_all_hooks()
    assert np.array_equal(image(pipeline), expected)


USES = {
    "generate": lambda dit, path: dit.generate(PROMPT, seed=0, **CALL),
    "check": lambda dit, path: dit.check(**CALL),
    "record": lambda dit, path: ds.record(dit, path / "a.zarr").generate(PROMPT, 0, **CALL),
    "compare": lambda dit, path: ds.compare(dit, PROMPT, 0, {"a": ds.edits.zero([1])}, ["psnr"], **CALL),
    "blocks": lambda dit, path: dit.blocks,
    "transformer": lambda dit, path: dit.transformer,
    "diffusers_pipeline": lambda dit, path: dit.diffusers_pipeline,
    "device": lambda dit, path: dit.device,
    "dtype": lambda dit, path: dit.dtype,
    "width": lambda dit, path: dit.width,
    "image_size": lambda dit, path: dit.image_size({}),
}


@pytest.fixture(scope="module")
def closed(untrained_folder):
    dit = ds.load(str(untrained_folder))
    dit.close()
    dit.close()
    return dit


@pytest.mark.parametrize("use", USES)
def test_a_closed_model_refuses_to_be_used(closed, tmp_path, use) -> None:
    with pytest.raises(UnsupportedError, match=r"found a model that was closed.*ds\.load\(pipe\)"):
        USES[use](closed, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_closed_model_refuses_a_trace_and_says_so_in_its_repr(closed) -> None:
    with (
        pytest.raises(UnsupportedError, match="a model that was closed"),
        closed.generate(PROMPT, **CALL) as tracer,
    ):
        for _ in closed.visits(tracer):
            pass
    with pytest.raises(UnsupportedError, match="a model that was closed"), closed.trace(PROMPT) as tracer:
        tracer.result.save()
    assert repr(closed) == f"DiT({closed.name!r}: closed)"
    assert not hasattr(closed, "_repr_png_")


def test_a_model_in_a_run_is_not_closed(pipeline) -> None:
    with ds.load(pipeline) as dit:
        with pytest.raises(UnsupportedError, match=r"close\(\) in a run"):
            run_traced(dit, [(PROMPT, SEED)], lambda visit: dit.close(), **CALL)
        assert dit.check(**CALL).ok


def test_an_open_transformer_is_not_opened_again(pipeline) -> None:
    dit = ds.load(pipeline)
    other = FluxImg2ImgPipeline.from_pipe(pipeline)
    for again in (pipeline, other):
        with pytest.raises(
            UnsupportedError, match=rf"a {type(again).__name__} whose transformer is open already"
        ):
            ds.load(again)
    dit.close()
    with ds.load(other) as dit:
        assert dit.name == str(pipeline.name_or_path)
    dit = ds.load(pipeline)
    del dit
    gc.collect()
    with ds.load(pipeline) as dit:  # nobody has the first one any more
        traced_image(dit)
    assert STATE not in vars(pipeline.transformer)


def test_networks_that_two_models_share_are_read_by_the_one_that_is_left(untrained_folder, pipeline) -> None:
    other = DiffusionPipeline.from_pretrained(
        untrained_folder, vae=pipeline.vae, text_encoder_2=pipeline.text_encoder_2
    )
    first, second = ds.load(pipeline), ds.load(other)
    first.close()
    with second.generate(PROMPT, seed=SEED, **CALL) as tracer:
        text = second.text_encoder_2.output[0].clone().save()
        tracer.stop()
    assert text.shape[1] == CALL["max_sequence_length"]
    assert STATE not in vars(pipeline.transformer)
    second.close()
    assert not [name for name, found in attributes(pipeline).items() if STATE in found]
    assert not [name for name, found in attributes(other).items() if STATE in found]


def test_a_lora_that_was_loaded_and_bfloat16_are_followed(pipeline) -> None:
    load_a_lora(pipeline)
    pipeline.to(torch.bfloat16)
    with ds.load(pipeline) as dit:
        assert dit.dtype == torch.bfloat16
        report = dit.check(PROMPT, **CALL)
    assert report.ok, report
