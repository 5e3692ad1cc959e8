"""Calls as people make them: embeddings for prompts, IP-Adapters; recordings and edits equal plain hooks."""

from __future__ import annotations

import copy
import functools
import math

import numpy as np
import plain_hooks
import pytest
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterTimeImageProjection
from family_calls import call, guided, size, streams
from pictures import picture

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import InputError
from ditscope.tracing.run import run_traced
from ditscope.tracing.written_call import written_call

LABELS, SEED = ["here", "there"], 3

EMBEDDINGS: dict[str, dict[str, tuple[int, ...]]] = {
    "flux": {"prompt_embeds": (14, 32), "pooled_prompt_embeds": (16,)},
    "sd3": {
        "prompt_embeds": (12, 48),
        "pooled_prompt_embeds": (32,),
        "negative_prompt_embeds": (12, 48),
        "negative_pooled_prompt_embeds": (32,),
    },
    "qwen-image": {"prompt_embeds": (9, 16), "prompt_embeds_mask": (9,)},
    "sana": {
        "prompt_embeds": (14, 16),
        "prompt_attention_mask": (14,),
        "negative_prompt_embeds": (14, 16),
        "negative_prompt_attention_mask": (14,),
    },
}
"""Shapes of a row of each embedding that a pipeline takes."""


def embeddings(name: str) -> list[dict[str, torch.Tensor]]:
    """Embeddings of two prompts; the first is whole, the second ends in padding."""
    made = torch.Generator().manual_seed(0)

    def one(argument: str, shape: tuple[int, ...], padding: int) -> torch.Tensor:
        if argument.endswith("mask"):
            return (torch.arange(shape[0]) < shape[0] - padding).long()[None]
        return torch.randn(1, *shape, generator=made)

    return [
        {argument: one(argument, shape, padding) for argument, shape in EMBEDDINGS[name].items()}
        for padding in (0, 2)
    ]


def require_equal(cache, seen: plain_hooks.Seen, name: str, images: int) -> None:
    """A guided recording is what plain hooks saw."""
    assert np.array_equal(cache.images.values, seen.images)
    for stream in cache.schema.stream_names:
        hidden = cache.hidden(stream).load()
        for step, branch, block in np.ndindex(*(hidden.sizes[dim] for dim in ("step", "branch", "block"))):
            place = hidden.isel(step=step, branch=branch, block=block)
            visit, rows = plain_hooks.branch_rows(name, True, step, str(place.branch.values), images)
            expected = seen.hidden[visit, int(place.block), stream][rows]
            found = place.values[:, : expected.shape[1]]
            assert np.array_equal(found, expected.numpy()), (stream, step, branch, block)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_recorded_as_plain_hooks_see_them(opened, folder_of, tmp_path, name) -> None:
    rows = embeddings(name)
    prompts = [ds.PromptEmbeds(label, **row) for label, row in zip(LABELS, rows, strict=True)]
    # SANA has an empty negative prompt by default, which diffusers refuses beside an embedded one.
    negative = {"negative_prompt": None if "negative_prompt_embeds" in rows[0] else "plain"}
    arguments = {**size(name), **guided(name), "num_inference_steps": 1, **negative}
    left_out = {argument: value for argument, value in arguments.items() if value is not None}
    with ds.record(opened(name), tmp_path / "a", streams=streams(name), blocks=[0, 1], batch_size=2) as rec:
        cache = rec.generate(prompts, SEED, **left_out)
    both = {argument: torch.cat([row[argument] for row in rows]) for argument in rows[0]}
    seen = plain_hooks.run(plain_hooks.opened(folder_of(name)), name, None, [SEED] * 2, **both, **arguments)
    require_equal(cache, seen, name, images=2)
    assert cache.hidden().prompt.values.tolist() == LABELS
    assert set(cache.specs[0].call["embeddings"]) == set(EMBEDDINGS[name])


def test_negative_embeddings_take_the_place_of_the_folders_negative_prompt(opened, tmp_path) -> None:
    row = embeddings("qwen-image")[0]
    prompt = ds.PromptEmbeds("here", **row, **{f"negative_{name}": tensor for name, tensor in row.items()})
    arguments = {**size("qwen-image"), "true_cfg_scale": 3.0, "num_inference_steps": 1}
    with ds.record(opened("qwen-image"), tmp_path / "a", streams=["text"], blocks=[0]) as rec:
        cache = rec.generate(prompt, SEED, **arguments)
    assert cache.manifest["config"]["call"]["negative_prompt"] is None
    both = cache.hidden("text").isel(sample=0, step=0, block=0)
    assert np.array_equal(both.sel(branch="cond"), both.sel(branch="uncond"))
    assert both.sizes["token"] == 9


def test_texts_of_embeddings_that_differ_in_length_are_padded(opened, tmp_path) -> None:
    prompts = [
        ds.PromptEmbeds(
            str(n), prompt_embeds=torch.ones(1, n, 16), prompt_embeds_mask=torch.ones(1, n).long()
        )
        for n in (5, 9)
    ]
    with ds.record(opened("qwen-image"), tmp_path / "a", streams=["text"], blocks=[0]) as rec:
        cache = rec.generate(prompts, SEED, **size("qwen-image"), true_cfg_scale=1.0, num_inference_steps=1)
    assert cache.hidden("text").token_mask.sum("token").values.flatten().tolist() == [5, 9]


VISION = {
    **{"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2},
    **{"image_size": 16, "patch_size": 8},
}


def flux_adapter(pipeline) -> None:
    """An IP-Adapter: 4 tokens an image, of an embedding of 16 numbers."""
    made = torch.Generator().manual_seed(1)
    projection = {"proj.weight": (128, 16), "proj.bias": (128,), "norm.weight": (32,), "norm.bias": (32,)}
    attention = {
        f"{block}.to_{part}_ip.{kind}": (32, 32) if kind == "weight" else (32,)
        for block in range(2)
        for part in "kv"
        for kind in ("weight", "bias")
    }
    weights = {
        part: {key: torch.randn(shape, generator=made) for key, shape in shapes.items()}
        for part, shapes in {"image_proj": projection, "ip_adapter": attention}.items()
    }
    vision = transformers.CLIPVisionConfig(projection_dim=16, num_hidden_layers=1, **VISION)
    torch.manual_seed(2)
    encoder = transformers.CLIPVisionModelWithProjection(vision).eval()
    extractor = transformers.CLIPImageProcessor(size=16, crop_size=16)
    pipeline.register_modules(image_encoder=encoder, feature_extractor=extractor)
    pipeline.load_ip_adapter(weights, weight_name="tiny", low_cpu_mem_usage=False)


def sd3_adapter(pipeline) -> None:
    """An IP-Adapter: 4 tokens an image, of any number of embeddings of 16 numbers."""
    torch.manual_seed(1)
    projection = IPAdapterTimeImageProjection(16, 32, 64, heads=1, num_queries=4, timestep_in_dim=16)
    attention = [SD3IPAdapterJointAttnProcessor2_0(32, 32, 16, timesteps_emb_dim=64) for _ in range(3)]
    weights = {
        "image_proj": projection.state_dict(),
        "ip_adapter": torch.nn.ModuleList(attention).state_dict(),
    }
    pipeline.transformer._load_ip_adapter_weights(weights, low_cpu_mem_usage=False)
    encoder = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(num_hidden_layers=2, **VISION)
    ).eval()
    extractor = transformers.SiglipImageProcessor(size={"height": 16, "width": 16})
    pipeline.register_modules(image_encoder=encoder, feature_extractor=extractor)


@pytest.fixture(scope="module")
def adapted(folder_of):
    """Name -> the tiny pipeline, with an IP-Adapter that was loaded after opening; the bare one with the same."""

    @functools.cache
    def load(name: str):
        dit, bare = ds.load(str(folder_of(name))), DiffusionPipeline.from_pretrained(folder_of(name))
        for pipeline in (dit.diffusers_pipeline, bare):
            {"flux": flux_adapter, "sd3": sd3_adapter}[name](pipeline)
            pipeline.set_ip_adapter_scale(2.0)
        return dit, bare

    return load


def ramp(*shape: int) -> torch.Tensor:
    return torch.linspace(-1, 1, math.prod(shape)).reshape(shape)


ADAPTED = {
    "FLUX.1, by image": ("flux", {"ip_adapter_image": picture(20, 24)}),
    "FLUX.1, by embeddings": ("flux", {"ip_adapter_image_embeds": [ramp(1, 1, 16)]}),
    "SD3, by image": ("sd3", {"ip_adapter_image": picture(20, 24)}),
    "SD3, by embeddings": ("sd3", {"ip_adapter_image_embeds": ramp(2, 3, 16)}),
}


@pytest.mark.parametrize(("name", "given"), ADAPTED.values(), ids=ADAPTED)
def test_an_ip_adapter_is_recorded_and_edited_as_plain_hooks_see_it(
    adapted, folder_of, tmp_path, name, given
) -> None:
    dit, bare = adapted(name)
    prompts, kwargs = ["a red circle", "a white star"], {"scale": 0.5}
    arguments = {**call(name), **given, "num_inference_steps": 1, "joint_attention_kwargs": kwargs}
    with ds.record(dit, tmp_path / "a", streams=["image", "text"], blocks=[0, 1], batch_size=2) as rec:
        cache = rec.generate(prompts, SEED, **arguments)
    assert kwargs == {"scale": 0.5}  # FLUX.1 writes into what it is passed
    seen, edited = (
        plain_hooks.run(bare, name, prompts, [SEED] * 2, edit=edit, **copy.deepcopy(arguments))
        for edit in (None, (1, lambda visit, hidden: hidden * 0))
    )
    require_equal(cache, seen, name, images=2)
    without = plain_hooks.run(plain_hooks.opened(folder_of(name)), name, prompts, [SEED] * 2, **call(name))
    assert not np.array_equal(seen.hidden[0, 0, "image"], without.hidden[0, 0, "image"])
    visitor = EditedVisit(dit, [ds.edits.zero(range(dit.width), blocks=[1])], range(1))
    samples = [(prompt, SEED) for prompt in prompts]
    assert np.array_equal(run_traced(dit, samples, visitor, **arguments).images, edited.images)
    assert cache.manifest["config"]["call"].items() >= written_call(given).items()


@pytest.mark.parametrize(
    ("name", "embedded", "words"),
    [
        ("flux", [ramp(2, 1, 16)], "2 rows in ip_adapter_image_embeds; expected a row for the image"),
        ("sd3", ramp(1, 3, 16), "1 rows .*; expected a row for the image, after one for its absence"),
        ("sd3", ramp(4, 3, 16), "4 rows in ip_adapter_image_embeds"),
    ],
)
def test_embeddings_for_one_sample_each_are_refused_for_an_ip_adapter(
    adapted, tmp_path, name, embedded, words
) -> None:
    with pytest.raises(InputError, match=words), ds.record(adapted(name)[0], tmp_path / "a") as rec:
        rec.generate(["a", "b"], SEED, **call(name), ip_adapter_image_embeds=embedded)
    assert not (tmp_path / "a").exists()
