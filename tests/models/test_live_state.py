"""The live state sees whatever changes a run's numbers, by name, and nothing that does not."""

from __future__ import annotations

import builtins
import copy
import functools
import json
from collections.abc import Callable
from typing import Any

import diffusers.models.transformers.transformer_flux as flux
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from peft import LoraConfig

import ditscope as ds
from ditscope.cache.manifest import differences
from ditscope.models import versions
from ditscope.models.live_state import live_digest, live_state

F, ATTEND = torch.nn.functional, "scaled_dot_product_attention"
LORA = LoraConfig(r=2, lora_alpha=4, target_modules=["attn.to_q", "ff.net.2"], init_lora_weights=False)


@pytest.fixture(scope="module")
def dit(untrained_folder):
    """A pipeline that a test changes and puts back."""
    return ds.load(str(untrained_folder))


@pytest.fixture(scope="module")
def with_adapter(untrained_folder):
    dit = ds.load(str(untrained_folder))
    dit.diffusers_pipeline.transformer.add_adapter(LORA, "style")
    return dit


def fields(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {each.field: (each.found, each.expected) for each in differences(before, after)}


def changed_by(dit, change: Callable[[Any], Callable[[], Any]]) -> dict[str, tuple[Any, Any]]:
    """The fields in which a change shows; a change gives what takes it back, and then the state is as before."""
    before = live_state(dit)
    undo = change(dit.diffusers_pipeline)
    after = live_state(dit)
    undo()
    assert live_state(dit) == before
    assert (after == before) == (live_digest(after) == live_digest(before))
    return fields(before, after)


def set_to(owner: Any, name: str, value: Any) -> Callable[[], None]:
    """Set an attribute, and give what puts it back."""
    had, original = name in vars(owner), vars(owner).get(name)
    object.__setattr__(owner, name, value)
    return lambda: object.__setattr__(owner, name, original) if had else object.__delattr__(owner, name)


def set_config(part: Any, **values: Any) -> Callable[[], None]:
    original = {name: part.config[name] for name in values}
    part.register_to_config(**values)
    return lambda: part.register_to_config(**original)


class Elsewhere(FlowMatchEulerDiscreteScheduler):
    """A scheduler that halves every step."""

    def step(self, model_output, *arguments, **more):
        return super().step(model_output / 2, *arguments, **more)


Elsewhere.__name__ = Elsewhere.__qualname__ = "FlowMatchEulerDiscreteScheduler"


class HalfAttention(flux.FluxAttnProcessor):
    """A processor with a number of its own."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share


def swap_processor(pipeline):
    attn = pipeline.transformer.transformer_blocks[1].attn
    original = attn.processor
    attn.set_processor(HalfAttention())
    return lambda: attn.set_processor(original)


def hook(of: Callable[[Any], torch.nn.Module], kind: str = "register_forward_hook"):
    return lambda pipeline: getattr(of(pipeline), kind)(watched).remove


def watched(*_: Any) -> None:
    """A hook."""


def every_module_hooked(pipeline):
    return torch.nn.modules.module.register_module_forward_hook(watched).remove


def matmul_precision(pipeline):
    torch.set_float32_matmul_precision("medium")
    return lambda: torch.set_float32_matmul_precision("highest")


def math_attention_only(pipeline):
    torch.backends.cuda.enable_flash_sdp(False)
    return lambda: torch.backends.cuda.enable_flash_sdp(True)


def casting(pipeline):
    torch.set_autocast_enabled("cpu", True)
    return lambda: torch.set_autocast_enabled("cpu", False)


def more_words(pipeline):
    original = pipeline.tokenizer
    pipeline.tokenizer = copy.deepcopy(original)
    pipeline.tokenizer.add_tokens(["<mine>"])
    return functools.partial(setattr, pipeline, "tokenizer", original)


def no_end_mark(pipeline):
    """What is done inside a tokenizer shows in the ids that it makes."""
    from tokenizers.processors import TemplateProcessing

    original = pipeline.tokenizer
    pipeline.tokenizer = copy.deepcopy(original)
    pipeline.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    return functools.partial(setattr, pipeline, "tokenizer", original)


class Steer:
    """A hook of an object's."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def hook(self, module, arguments, output):
        return None


def patched_attention(pipeline):
    """As is done to have another library's attention."""
    return functools.partial(setattr, F, ATTEND, swap(F, ATTEND, watched))


def patched_in_a_module(pipeline):
    return functools.partial(
        setattr, flux, "dispatch_attention_fn", swap(flux, "dispatch_attention_fn", watched)
    )


NORM = "transformer.modules.torch.nn.modules.normalization.LayerNorm"
ATTENTION = "transformer.modules.diffusers.models.transformers.transformer_flux.FluxAttention"
AUTOENCODER = "vae.modules.diffusers.models.autoencoders.autoencoder_kl.AutoencoderKL"
SCHEDULER = "diffusers.schedulers.scheduling_flow_match_euler_discrete.FlowMatchEulerDiscreteScheduler"

# torch 2.9 has names for them.
PRECISION = ("ieee", "tf32") if hasattr(torch.backends.cuda.matmul, "fp32_precision") else (False, True)

CHANGES: dict[str, tuple[Callable[[Any], Callable[[], Any]], str, Any, Any]] = {
    "eps": (
        lambda p: set_to(p.transformer.transformer_blocks[1].norm1.norm, "eps", 0.1),
        f"{NORM}.eps",
        1e-06,
        {
            "values": {"1e-06": 22, "0.1": ["transformer_blocks.1.norm1.norm"]},
            "distinct": 2,
            "digest": "0679ee56cd97",
        },
    ),
    "scale of an attention": (
        lambda p: set_to(p.transformer.transformer_blocks[0].attn, "heads", 1),
        f"{ATTENTION}.heads",
        None,
        None,
    ),
    "frequencies of positions": (
        lambda p: set_to(p.transformer.pos_embed, "theta", 5000),
        "transformer.modules.diffusers.models.transformers.transformer_flux.FluxPosEmbed.theta",
        10000,
        5000,
    ),
    "a network in training": (
        lambda p: set_to(p.vae.decoder.conv_out, "training", True),
        "vae.modules.torch.nn.modules.conv.Conv2d.training",
        False,
        None,
    ),
    "a tensor of a module's": (
        lambda p: set_to(p.transformer.pos_embed, "bias", torch.ones(3)),
        "transformer.modules.diffusers.models.transformers.transformer_flux.FluxPosEmbed.bias",
        None,
        None,
    ),
    "a scheduler of the same name": (
        lambda p: set_to(p, "scheduler", Elsewhere.from_config(p.scheduler.config)),
        "scheduler.class",
        SCHEDULER,
        None,
    ),
    "setting of the scheduler": (
        lambda p: set_config(p.scheduler, shift=9.0),
        "scheduler.config.shift",
        2.0,
        9.0,
    ),
    "shift that a method sets": (lambda p: set_to(p.scheduler, "_shift", 9.0), "scheduler._shift", 2.0, 9.0),
    "method of a library replaced": (
        lambda p: functools.partial(
            setattr, type(p.scheduler), "step", set_class(type(p.scheduler), Elsewhere.step)
        ),
        "scheduler.class",
        SCHEDULER,
        None,
    ),
    "padding side": (
        lambda p: functools.partial(
            setattr, p.tokenizer, "padding_side", swap(p.tokenizer, "padding_side", "left")
        ),
        "tokenizer.padding_side",
        "right",
        "left",
    ),
    "longest text": (
        lambda p: functools.partial(
            setattr, p.tokenizer_2, "model_max_length", swap(p.tokenizer_2, "model_max_length", 7)
        ),
        "tokenizer_2.model_max_length",
        None,
        7,
    ),
    "another word": (more_words, "tokenizer.words", None, None),
    "no mark at the end": (no_end_mark, "tokenizer.ids_of_a_sentence", None, None),
    "scaling of latents": (
        lambda p: set_config(p.vae, scaling_factor=2.0),
        "vae.config.scaling_factor",
        None,
        2.0,
    ),
    "tiling": (lambda p: set_to(p.vae, "use_tiling", True), f"{AUTOENCODER}.use_tiling", False, True),
    "image processor": (
        lambda p: set_to(p, "image_processor", VaeImageProcessor(vae_scale_factor=4, resample="bilinear")),
        "pipeline.image_processor.config.resample",
        "lanczos",
        "bilinear",
    ),
    "pixels of a latent": (lambda p: set_to(p, "vae_scale_factor", 16), "pipeline.vae_scale_factor", 2, 16),
    "a method of the pipeline": (
        lambda p: set_to(p, "check_inputs", watched),
        "pipeline.check_inputs",
        "<absent>",
        None,
    ),
    "a method of the pipeline with an underscore": (
        lambda p: set_to(p, "_get_t5_prompt_embeds", watched),
        "pipeline._get_t5_prompt_embeds",
        "<absent>",
        None,
    ),
    "attention put in torch's place": (
        patched_attention,
        "patched",
        "<absent>",
        None,
    ),
    "a function of a library's module": (patched_in_a_module, "patched", "<absent>", None),
    "text encoder's attention": (
        lambda p: set_to(p.text_encoder.config, "_attn_implementation_internal", "eager"),
        "text_encoder.config._attn_implementation_internal",
        "sdpa",
        "eager",
    ),
    "processor": (
        swap_processor,
        f"transformer.processors.{flux.__name__}.FluxAttnProcessor",
        10,
        9,
    ),
    "backend of a processor's": (
        lambda p: set_to(p.transformer.transformer_blocks[0].attn.processor, "_attention_backend", "flash"),
        f"{ATTENTION}.processor",
        None,
        None,
    ),
    "hook on a block": (
        hook(lambda p: p.transformer.transformer_blocks[1]),
        "transformer.hooks",
        "<absent>",
        None,
    ),
    "hook where nothing is read": (
        hook(lambda p: p.text_encoder_2.encoder.final_layer_norm, "register_forward_pre_hook"),
        "text_encoder_2.hooks",
        "<absent>",
        None,
    ),
    "hook on every module": (every_module_hooked, "hooks_on_all_modules", "<absent>", None),
    "forward of an inner module": (
        lambda p: set_to(p.vae.decoder.conv_act, "forward", torch.nn.functional.relu),
        "vae.forwards",
        "<absent>",
        {"decoder.conv_act": "torch.nn.functional.relu"},
    ),
    "precision of products": (matmul_precision, "torch.float32_precision.cuda.matmul", *PRECISION),
    "attention of torch's": (math_attention_only, "torch.scaled_dot_product_attention.flash", True, False),
    "autocast": (casting, "torch.autocast.cpu", "<absent>", "bfloat16"),
    "a component less": (lambda p: set_to(p, "text_encoder_2", None), "text_encoder_2", None, None),
}


def swap(owner: Any, name: str, value: Any) -> Any:
    original = getattr(owner, name)
    setattr(owner, name, value)
    return original


def set_class(kind: type, step: Any) -> Any:
    return swap(kind, "step", step)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_and_named_with_both_values(dit, what) -> None:
    change, field, found, expected = CHANGES[what]
    named = changed_by(dit, change)
    shown = next((both for name, both in named.items() if name.startswith(field)), None)
    assert shown, named.keys()
    for value, known in zip(shown, (found, expected), strict=True):
        assert known is None or value == known or repr(value) == known


def test_adapters_are_named_with_scale_activity_fusion_and_disabling(with_adapter) -> None:
    pipeline = with_adapter.diffusers_pipeline
    loaded = live_state(with_adapter)
    adapter = {"layers": 14, "scale": 2.0, "active": True, "fused": False, "disabled": False}
    assert loaded["transformer"]["adapters"] == {"style": adapter}
    assert "peft" in loaded["versions"]

    def now(**changes: Any) -> None:
        state = live_state(with_adapter)
        found = fields(loaded, state)
        for name, value in changes.items():
            assert found.pop(f"transformer.adapters.style.{name}") == (adapter[name], value)
        assert not [name for name in found if ".adapters." in name]

    pipeline.set_adapters(["style"], [0.25])
    now(scale=0.5)
    pipeline.set_adapters(["style"], [1.0])
    pipeline.disable_lora()
    now(disabled=True)
    pipeline.enable_lora()
    assert live_state(with_adapter) == loaded
    pipeline.fuse_lora(components=["transformer"])
    now(fused=True)
    pipeline.unfuse_lora(components=["transformer"])
    layer = next(m for m in pipeline.transformer.modules() if hasattr(m, "merged_adapters"))
    layer.scaling["style"] = 1.0
    (scale,) = [
        v for name, v in fields(loaded, live_state(with_adapter)).items() if name.endswith("style.scale")
    ]
    assert scale[1]["values"] == {"2.0": 13, "1.0": ["transformer_blocks.0.attn.to_q"]}


def test_versions_that_decide_numbers_are_in_it(dit, monkeypatch) -> None:
    before, honest = live_state(dit), versions.version
    assert before["versions"].keys() == {
        *("torch", "diffusers", "transformers", "nnsight", "accelerate", "tokenizers")
    }
    for library, version in before["versions"].items():
        monkeypatch.setattr(
            versions, "version", lambda name, other=library: "0.1" if name == other else honest(name)
        )
        assert fields(before, live_state(dit)) == {f"versions.{library}": (version, "0.1")}


def test_code_of_a_users_own_is_told_by_what_it_does(dit) -> None:
    """A class of the same name may have another body, and a hook other numbers around it."""
    block = dit.diffusers_pipeline.transformer.transformer_blocks[0]

    def state(made: Any) -> Any:
        with block.ff.register_forward_hook(made):
            return live_state(dit)["transformer"]["hooks"]["transformer_blocks.0.ff"]

    def scaled(by: float):
        seen: list[Any] = []

        def hook(module, arguments, output):
            seen.append(output)
            return output * by

        return hook

    assert state(scaled(2.0)) == state(scaled(2.0)) != state(scaled(3.0))
    hook = scaled(2.0)
    before = state(hook)
    hook(block, (), torch.ones(1))  # what it gathers is not what it does
    assert state(hook) == before


def test_methods_as_hooks_and_forwards_are_told_by_their_objects(dit) -> None:
    steer, encoder = Steer(1.0), dit.diffusers_pipeline.text_encoder
    with encoder.register_forward_hook(steer.hook):
        before = live_state(dit)
        steer.scale = 9.0
        assert fields(before, live_state(dit)) == {"text_encoder.hooks.itself[0].self.scale": (1.0, 9.0)}
    assert "patched" not in before


def test_a_state_is_plain_json_and_equal_for_two_loads(dit, untrained_folder) -> None:
    state = live_state(dit)
    assert (
        json.loads(json.dumps(state, allow_nan=False)) == state == live_state(ds.load(str(untrained_folder)))
    )


def test_names_that_a_notebook_adds_to_the_builtins_do_not_count(dit, monkeypatch) -> None:
    before = live_state(dit)
    monkeypatch.setattr(builtins, "get_ipython", lambda: None, raising=False)
    assert live_state(dit) == before
