"""What `load` opens, and what it refuses before it opens anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from pictures import picture

import bare_pipeline
import ditscope as ds
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.configuration import read_configuration
from ditscope.models.families import family_of
from ditscope.tracing.prompt_embeds import refuse_unfit


@pytest.fixture
def altered(untrained_folder: Path, tmp_path: Path) -> Callable[[Callable[[Path], object]], Path]:
    """A copy of the pipeline folder after something was done to it."""

    def make(alter: Callable[[Path], object]) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(untrained_folder, folder)
        alter(folder)
        return folder

    return make


def edit_index(**changes: object) -> Callable[[Path], object]:
    def alter(folder: Path) -> None:
        index = folder / "model_index.json"
        index.write_text(json.dumps({**json.loads(index.read_text()), **changes}))

    return alter


def test_a_folder_opens_as_an_nnsight_model_with_its_own_call(dit, untrained_folder) -> None:
    from nnsight.modeling.diffusion import DiffusionModel

    assert isinstance(dit, DiffusionModel)
    assert dit.width == 128
    assert dit.dtype == torch.float32
    assert dit.name == str(untrained_folder)
    assert dit.call_defaults["height"] == 64
    for fact in ("FLUX.1", "10 blocks", "4 double", "6 single", "width 128", "float32", "cpu"):
        assert fact in repr(dit)


def test_a_path_is_named_by_its_text(untrained_folder) -> None:
    assert ds.load(untrained_folder).name == str(untrained_folder)


def test_the_embedded_name_opens_the_embedded_folder(untrained_folder, monkeypatch) -> None:
    monkeypatch.setattr("ditscope.models.loading.embedded_folder", lambda _: untrained_folder)
    assert ds.load("shapes").name == "shapes"


@pytest.mark.parametrize(
    "arguments",
    [
        {"torch_dtype": torch.bfloat16},
        {"dtype": torch.bfloat16},
        {"dtype": "bfloat16"},
        {"torch_dtype": "torch.bfloat16"},
    ],
)
def test_every_spelling_of_the_dtype_takes_effect(untrained_folder, arguments) -> None:
    assert ds.load(str(untrained_folder), **arguments).dtype == torch.bfloat16


def test_device_moves_every_part(untrained_folder) -> None:
    dit = ds.load(str(untrained_folder), device="meta")
    parts = dit.diffusers_pipeline.components.values()
    devices = {next(part.parameters()).device.type for part in parts if isinstance(part, torch.nn.Module)}
    assert devices == {"meta"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": torch.bfloat16, "torch_dtype": torch.float32}, "both dtype= and torch_dtype="),
        ({"dtype": "blue"}, "'blue'"),
        ({"dtype": 32}, "dtype 32"),
        ({"device": "cpu", "device_map": "cpu"}, "both device= and device_map="),
        ({"device": "toaster"}, "toaster"),
        ({"num_inference_steps": 4}, "num_inference_steps"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"custom_pipeline": "someone/else"}, "custom_pipeline"),
    ],
)
def test_arguments_that_would_be_ignored_are_refused(untrained_folder, arguments, message) -> None:
    with pytest.raises(InputError, match="expected") as error:
        ds.load(str(untrained_folder), **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder_2"])
def test_missing_weights_are_named(altered, part) -> None:
    folder = altered(lambda folder: [path.unlink() for path in (folder / part).glob("*.safetensors")])
    with pytest.raises(InputError, match=rf"no safetensors weights for {part} in"):
        ds.load(str(folder))


def test_a_missing_component_folder_is_named(altered) -> None:
    folder = altered(lambda folder: shutil.rmtree(folder / "transformer"))
    with pytest.raises(InputError, match="for transformer in"):
        ds.load(str(folder))


def test_pickled_weights_are_not_read(altered) -> None:
    def pickle_vae(folder: Path) -> None:
        weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".bin"))

    with pytest.raises(InputError, match="no safetensors weights for vae"):
        ds.load(str(altered(pickle_vae)))


def test_weights_of_a_component_that_is_given_may_be_missing(altered, dit) -> None:
    folder = altered(lambda folder: shutil.rmtree(folder / "vae"))
    vae = dit.diffusers_pipeline.vae
    assert ds.load(str(folder), vae=vae).diffusers_pipeline.vae is vae


@pytest.mark.parametrize(
    ("alter", "kind", "message"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), InputError, "without model_index.json"),
        (
            lambda folder: (folder / "model_index.json").write_text("{"),
            InputError,
            "unreadable model_index.json",
        ),
        (
            lambda folder: (folder / "model_index.json").write_text("[]"),
            InputError,
            "unreadable model_index.json",
        ),
        (lambda folder: (folder / "model_index.json").write_text("{}"), UnsupportedError, "none named"),
        (lambda folder: (folder / "ditscope.json").write_text('{"call": 3}'), InputError, "call arguments"),
    ],
)
def test_a_folder_that_holds_no_pipeline_is_refused(altered, alter, kind, message) -> None:
    with pytest.raises(kind, match=message):
        ds.load(str(altered(alter)))


def test_an_unknown_pipeline_is_refused_with_what_is_supported_and_how_to_add_one(altered) -> None:
    unknown = {"_class_name": "StableDiffusionPipeline", "transformer": ["diffusers", "UNet2DModel"]}
    folder = altered(edit_index(**unknown))
    with pytest.raises(UnsupportedError) as error:
        ds.load(str(folder))
    for fact in ("StableDiffusionPipeline", "FluxPipeline", "ditscope/models/families/", "ditscope check"):
        assert fact in str(error.value)


def test_a_file_is_refused(untrained_folder) -> None:
    with pytest.raises(InputError, match="Pass the folder"):
        ds.load(str(untrained_folder / "model_index.json"))


def test_a_name_that_is_nothing_is_refused(monkeypatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr("diffusers.DiffusionPipeline.load_config", unreachable)
    with pytest.raises(
        InputError, match=r"'no-such/model'.*'shapes', a pipeline folder or a reachable hub id"
    ):
        ds.load("no-such/model")


class OfMyOwn(diffusers.FluxPipeline):
    """What people derive from a pipeline."""

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class Network(torch.nn.Module):
    """What no pipeline of a Diffusion Transformer has."""


def without_transformer() -> Any:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    parts = dict.fromkeys(
        ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer")
    )
    return diffusers.FluxPipeline(scheduler=scheduler, **parts)


def of_a_unet() -> Any:
    return diffusers.DDPMPipeline(
        diffusers.UNet2DModel(
            block_out_channels=(8, 8),
            norm_num_groups=4,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        ),
        diffusers.DDPMScheduler(),
    )


@pytest.fixture
def in_memory(untrained_folder):
    """The parts of a plain pipeline, in one of its own."""
    return diffusers.FluxPipeline.from_pipe(bare_pipeline.opened(untrained_folder))


def test_a_pipeline_in_memory_is_known_by_where_it_came_from_or_by_its_name(
    in_memory, untrained_folder
) -> None:
    with ds.load(in_memory) as dit:
        assert dit.name == str(untrained_folder)
        assert dit.call_defaults["height"] == 64
        assert dit.revision is None
    with ds.load(in_memory, name="mine") as dit:
        assert dit.name == "mine"
    with ds.load(diffusers.FluxPipeline(**in_memory.components)) as dit:
        assert dit.name == "FluxPipeline"
        assert dict(dit.call_defaults) == {}
    assert ds.load(str(untrained_folder), name="mine").name == "mine"


def test_a_pipeline_derived_from_a_known_one_opens_with_its_call(in_memory) -> None:
    with ds.load(OfMyOwn(**in_memory.components)) as dit:
        assert dit.check(**bare_pipeline.SIZE).ok  # guided, as its base's call is
        refuse_unfit(dit, ds.PromptEmbeds("some", prompt_embeds=torch.zeros(1, 2, 4)), {})
        with pytest.raises(InputError, match="pipeline argument nonsense"):
            dit.check(nonsense=1)


def test_a_folder_of_an_own_class_opens_with_that_class(altered) -> None:
    folder = altered(edit_index(_class_name="OfMyOwn"))
    for read in (lambda: ds.load(folder), lambda: read_configuration(str(folder))):
        with pytest.raises(InputError, match="class OfMyOwn, which diffusers does not have.*pipeline_class="):
            read()
    assert type(ds.load(folder, pipeline_class=OfMyOwn).diffusers_pipeline) is OfMyOwn


def test_a_folder_opens_as_another_class(untrained_folder) -> None:
    for wanted in ("FluxImg2ImgPipeline", diffusers.FluxImg2ImgPipeline):
        dit = ds.load(str(untrained_folder), pipeline_class=wanted)
        assert type(dit.diffusers_pipeline) is diffusers.FluxImg2ImgPipeline
    assert type(ds.load(untrained_folder, pipeline_class=OfMyOwn).diffusers_pipeline) is OfMyOwn
    size = {name: bare_pipeline.SIZE[name] for name in ("height", "width")}
    assert dit.check(image=picture(**size), strength=0.5, num_inference_steps=4, **size).ok


@pytest.mark.parametrize(
    ("source", "arguments", "kind", "message"),
    [
        (42, {}, InputError, "found 42; expected a name, a folder, or a diffusers pipeline"),
        (None, {}, InputError, "found None"),
        (Network(), {}, InputError, "found a Network; .*not a part of it"),
        (diffusers.FluxPipeline, {}, InputError, "found <class .*FluxPipeline"),
        (of_a_unet, {}, UnsupportedError, "a DDPMPipeline without a transformer"),
        (without_transformer, {}, UnsupportedError, "a FluxPipeline without a transformer"),
        ("shapes", {"name": 3}, InputError, "name=3"),
        ("shapes", {"name": " "}, InputError, "name=' '"),
        ("shapes", {"pipeline_class": "Nope"}, InputError, "pipeline_class='Nope'"),
        ("shapes", {"pipeline_class": int}, InputError, "pipeline_class='int'"),
        ("shapes", {"pipeline_class": "DiffusionPipeline"}, InputError, "pipeline_class='DiffusionPipeline'"),
        ("shapes", {"pipeline_class": "AutoPipelineForImage2Image"}, InputError, "pipeline_class='AutoP"),
        (
            "shapes",
            {"pipeline_class": "FluxControlNetPipeline"},
            InputError,
            "no controlnet for a FluxControlNet",
        ),
        (
            "shapes",
            {"pipeline_class": "StableDiffusionPipeline"},
            InputError,
            "no unet for a StableDiffusionPipeline",
        ),
        (None, {"dtype": "bfloat16"}, InputError, "dtype= beside a pipeline in memory"),
        (None, {"device": "cpu", "revision": "x"}, InputError, r"device=, revision= beside .*pipe\.to"),
        (None, {"pipeline_class": "FluxPipeline"}, InputError, r"pipeline_class= beside .*from_pipe\(pipe\)"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_words(in_memory, source, arguments, kind, message) -> None:
    if callable(source) and not isinstance(source, type | torch.nn.Module):
        source = source()
    with pytest.raises(kind, match=message):
        ds.load(in_memory if source is None and arguments else source, **arguments)


def test_a_stranger_s_class_over_a_known_transformer_is_of_its_family(in_memory) -> None:
    transformer = type(in_memory.transformer)
    stranger = type("Stranger", (diffusers.DiffusionPipeline,), {"__call__": lambda self, prompt: None})
    family = family_of(stranger, transformer)
    assert family.name == "FLUX.1"
    assert family.guidance.branches == ("cond",)  # its call has no scale
    assert family_of("Stranger", "FluxTransformer2DModel").guidance.branches == ("cond", "uncond")
    klein = type("Stranger", (stranger,), {"__init__": lambda self, is_distilled=False: None})
    assert family_of(klein, "Flux2Transformer2DModel").name == "FLUX.2 klein"
    assert family_of(stranger, "Flux2Transformer2DModel").name == "FLUX.2 dev"
    with pytest.raises(UnsupportedError, match="class Stranger with a UNet2DModel"):
        family_of(stranger, "UNet2DModel")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("transformer", "single_transformer_blocks.5.proj_out.bias"),
        ("text_encoder_2", "encoder.final_layer_norm.weight"),
        ("vae", "decoder.conv_out.bias"),
    ],
)
def test_the_fingerprint_tells_weights_and_dtypes_apart(untrained_folder, dit, part, name) -> None:
    from ditscope.models.fingerprint import weights_fingerprint

    other = ds.load(str(untrained_folder))
    assert weights_fingerprint(other) == weights_fingerprint(dit)
    weight = getattr(other.diffusers_pipeline, part).get_parameter(name)
    with torch.no_grad():
        weight[1] += 1e-3
    assert weights_fingerprint(other) != weights_fingerprint(dit)
    assert weights_fingerprint(ds.load(str(untrained_folder), dtype="bfloat16")) != weights_fingerprint(dit)


def test_a_call_fills_in_the_folder_s_arguments_and_nothing_else(dit, prompts) -> None:
    dit.generate(prompts, seed=0, num_inference_steps=2, true_cfg_scale=1.0)
    assert dit.run_state.call["height"] == 64
    assert dit.run_state.call["true_cfg_scale"] == 1.0
    assert dit.run_state.call["negative_prompt"] == ["", ""]
    assert dit.call_defaults["true_cfg_scale"] == 2.5
    assert dit.call_defaults["negative_prompt"] == ""


@pytest.mark.parametrize("name", ["shapess", "Shapes", "shape", "shaeps"])
def test_a_slip_in_the_embedded_name_asks_no_network(name, monkeypatch):
    monkeypatch.setattr(diffusers.DiffusionPipeline, "load_config", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(InputError, match="Did you mean 'shapes'"):
        ds.load(name)
