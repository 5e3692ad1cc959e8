"""Offloaded, cast and quantized pipelines: whatever a CPU can run gives what plain hooks see.

Every family is in ``test_matrix.py`` in the usual ways; here are all ways, on two of them.
"""

from __future__ import annotations

import functools

import numpy as np
import plain_hooks
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, PipelineQuantizationConfig, QuantoConfig, TorchAoConfig
from nnsight.intervention.source import STATE
from offloads import CPU, OFFLOADS, group_offload, model_offload, networks, sequential_offload
from peft import LoraConfig
from support_table import IN_OTHER_WAYS, TESTED_IN_OTHER_WAYS

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_torch import members_of
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.models.live_state import live_state
from ditscope.models.offload import stored_tensors
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

NAMES = IN_OTHER_WAYS
PROMPTS, SEED, BLOCK = tiny.PROMPTS, 3, 1
SAMPLES = [(prompt, SEED) for prompt in PROMPTS]


def test_the_table_of_support_names_the_families_of_these_tests() -> None:
    assert tuple(tiny.TINY[name].family for name in NAMES) == TESTED_IN_OTHER_WAYS


def call(name: str) -> dict[str, int]:
    edge = 32 if name == "sana" else 8
    return {"num_inference_steps": 2, "height": 2 * edge, "width": 3 * edge}


def zeroed(visit: int, hidden: torch.Tensor) -> torch.Tensor:
    hidden[:, :, [3, 7]] = 0
    return hidden


def require_equal(recorded, seen: plain_hooks.Seen, name: str) -> None:
    """A recording of image streams is what plain hooks saw."""
    assert np.array_equal(recorded.images.values, seen.images)
    hidden = recorded.hidden().load()
    for step in range(2):
        for branch in hidden["branch"].values:
            visit, rows = plain_hooks.branch_rows(name, hidden.sizes["branch"] > 1, step, branch, images=2)
            for block in hidden["block"].values:
                expected = seen.hidden[visit, int(block), "image"][rows].float().numpy()
                values = hidden.sel(step=step, branch=branch, block=block).values.astype(np.float32)
                assert np.array_equal(values, expected), (step, branch, block)


def recorded(dit, name: str, path):
    with ds.record(dit, path, batch_size=2) as rec:
        return rec.generate(PROMPTS, [SEED], **call(name))


def edited(dit, name: str) -> np.ndarray:
    visitor = EditedVisit(dit, [ds.edits.zero([3, 7], blocks=[BLOCK])], range(2))
    images = run_traced(dit, SAMPLES, visitor, **call(name)).images
    visitor.require_fired()
    return images


@pytest.fixture(scope="session")
def plainly(folder_of):
    """Name, edited or not -> what plain hooks see on the pipeline as it was saved."""

    def run(name: str, edit: bool) -> plain_hooks.Seen:
        change = (BLOCK, zeroed) if edit else None
        pipeline = plain_hooks.opened(folder_of(name))
        return plain_hooks.run(pipeline, name, PROMPTS, [SEED] * 2, edit=change, **call(name))

    return functools.cache(run)


@pytest.fixture(scope="module")
def offloaded(request, folder_of, tmp_path_factory):
    way, name = request.param
    dit = ds.load(str(folder_of(name)))
    OFFLOADS[way](dit.diffusers_pipeline, tmp_path_factory.mktemp("weights"))
    return name, dit


EVERY_OFFLOAD = pytest.mark.parametrize(
    "offloaded", [(way, name) for way in OFFLOADS for name in NAMES], ids=str, indirect=True
)


@EVERY_OFFLOAD
def test_every_claim_holds_offloaded(offloaded) -> None:
    name, dit = offloaded
    report = dit.check(PROMPTS[0], **call(name))
    assert report.ok, report


# The check compares what is read in every way; what is written from there is no different by way.
@pytest.mark.parametrize("offloaded", [("group offload, leaves to disk", "flux")], ids=str, indirect=True)
def test_offloading_changes_no_recorded_value(offloaded, plainly, tmp_path) -> None:
    name, dit = offloaded
    require_equal(recorded(dit, name, tmp_path / "a.zarr"), plainly(name, False), name)


@pytest.mark.parametrize(
    "offloaded", [(way, name) for way in OFFLOADS if "disk" in way for name in NAMES], ids=str, indirect=True
)
def test_offloading_changes_no_edit(offloaded, plainly) -> None:
    name, dit = offloaded
    images = edited(dit, name)
    assert np.array_equal(images, plainly(name, True).images)
    assert not np.array_equal(images, plainly(name, False).images)


@EVERY_OFFLOAD
def test_offloading_changes_no_fingerprint_and_leaves_no_place_without_a_device(offloaded, opened) -> None:
    name, dit = offloaded
    before = weights_fingerprint(opened(name))
    assert weights_fingerprint(dit) == before
    assert dit.device.type == "cpu"
    _, kept = max(
        stored_tensors(members_of(dit.diffusers_pipeline.text_encoder)), key=lambda named: named[1].numel()
    )
    value = kept.data.view(-1)[7].clone()
    kept.data.view(-1)[7] = value + 1
    assert weights_fingerprint(dit) != before
    kept.data.view(-1)[7] = value


def test_seeds_and_tensors_of_a_call_go_where_the_pipeline_computes(folder_of, opened, tmp_path) -> None:
    dit = ds.load(str(folder_of("flux")))
    sequential_offload(dit.diffusers_pipeline, tmp_path)
    prompt, pooled, _ = opened("flux").diffusers_pipeline.encode_prompt(
        PROMPTS[0], PROMPTS[0], max_sequence_length=14
    )

    def images(model) -> np.ndarray:
        given = {"prompt_embeds": prompt, "pooled_prompt_embeds": pooled, "num_images_per_prompt": 2}
        with model.generate(seed=SEED, generator=None, output_type="np", **given, **call("flux")) as tracer:
            result = tracer.result.save()
        return result.images

    both = images(dit)
    assert np.array_equal(both, images(opened("flux")))
    assert not np.array_equal(both[0], both[1])


def test_a_stopped_run_puts_the_networks_back(folder_of, tmp_path) -> None:
    dit = ds.load(str(folder_of("flux")))
    model_offload(dit.diffusers_pipeline, tmp_path)
    before = dit.diffusers_pipeline._all_hooks
    probe(dit, SAMPLES, **call("flux"))
    # diffusers takes every network off the device by taking its hooks off and setting new ones.
    assert dit.diffusers_pipeline._all_hooks is not before


@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("model offload", "flux"),
        ("disk offload", "flux"),
        ("sequential offload", "sana"),
        ("group offload, blocks to disk", "sana"),
    ],
)
def test_offloading_before_opening_works_and_outlasts_closing(
    folder_of, plainly, tmp_path, way, name
) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folder_of(name))
    pipeline.set_progress_bar_config(disable=True)
    OFFLOADS[way](pipeline, tmp_path / "weights")
    with ds.load(pipeline) as dit:
        require_equal(recorded(dit, name, tmp_path / "a.zarr"), plainly(name, False), name)
    assert not [
        module
        for network in networks(pipeline).values()
        for module in network.modules()
        if STATE in vars(module)
    ]
    after = plain_hooks.run(pipeline, name, PROMPTS, [SEED] * 2, **call(name))
    assert np.array_equal(after.images, plainly(name, False).images)


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("sd3", "block_level", "text_encoder and text_encoder_2 mixed up"),  # one file for both
        ("flux", "leaf_level", "shared and text_encoder_2.encoder.embed_tokens mixed up"),  # a tied weight
    ],
)
def test_weights_that_diffusers_mixes_up_on_disk_are_refused_by_name(
    folder_of, tmp_path, name, level, message
) -> None:
    dit = ds.load(str(folder_of(name)))
    dit.diffusers_pipeline.enable_group_offload(
        CPU, CPU, level, num_blocks_per_group=1, offload_to_disk_path=str(tmp_path)
    )
    for action in (lambda: run_traced(dit, SAMPLES, **call(name)), lambda: dit.check(**call(name))):
        with pytest.raises(UnsupportedError, match=message):
            action()


def test_a_lora_that_comes_while_weights_are_on_disk_is_refused(folder_of, tmp_path) -> None:
    dit = ds.load(str(folder_of("flux")))
    group_offload("block_level", to_disk=True)(dit.diffusers_pipeline, tmp_path)
    run_traced(dit, SAMPLES, **call("flux"))
    dit.diffusers_pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(
        UnsupportedError, match="modules replaced while group offload keeps their weights on disk"
    ):
        run_traced(dit, SAMPLES, **call("flux"))


def test_the_fingerprint_is_of_the_weights_on_disk_that_will_run(folder_of, opened, tmp_path) -> None:
    """diffusers leaves a file alone that is there already, and so runs the weights of whoever came first."""
    first, second = (ds.load(str(folder_of("flux"))) for _ in range(2))
    group_offload("block_level", to_disk=True)(first.diffusers_pipeline, tmp_path)
    for parameter in second.diffusers_pipeline.transformer.parameters():
        torch.nn.init.normal_(parameter)
    group_offload("block_level", to_disk=True)(second.diffusers_pipeline, tmp_path)
    assert weights_fingerprint(second) == weights_fingerprint(opened("flux"))


def test_weights_that_are_nowhere_have_no_fingerprint(folder_of) -> None:
    dit = ds.load(str(folder_of("flux")))
    dit.diffusers_pipeline.vae.to("meta")
    with pytest.raises(UnsupportedError, match=r"vae\..* on the meta device"):
        weights_fingerprint(dit)


def torchao(bits: int):
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerGroup

    eight = Int8WeightOnlyConfig()
    return TorchAoConfig(
        eight if bits == 8 else IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(16))
    )


def quanto(bits: int):
    pytest.importorskip("optimum.quanto")
    return QuantoConfig(weights_dtype=f"int{bits}")


QUANTIZED = [(torchao, 8, "flux"), *((torchao, 4, name) for name in NAMES)]
QUANTIZED += [(quanto, bits, "flux") for bits in (8, 4)]


def arguments_for(library, bits: int) -> dict:
    mapping = {"transformer": library(bits)}
    return {
        "torch_dtype": torch.bfloat16,
        "quantization_config": PipelineQuantizationConfig(quant_mapping=mapping),
    }


def require_like_plain(dit, pipeline_of, name: str, path) -> None:
    """Every claim holds; a recording and an edit are those of plain hooks on an equal pipeline."""
    report = dit.check(PROMPTS[0], **call(name))
    assert report.ok, report
    seen, changed = (
        plain_hooks.run(pipeline_of(), name, PROMPTS, [SEED] * 2, edit=edit, **call(name))
        for edit in (None, (BLOCK, zeroed))
    )
    require_equal(recorded(dit, name, path), seen, name)
    images = edited(dit, name)
    assert np.array_equal(images, changed.images)
    assert not np.array_equal(images, seen.images)


@pytest.mark.parametrize(("library", "bits", "name"), QUANTIZED)
def test_quantized_weights_run_like_plain_hooks_on_them(folder_of, tmp_path, library, bits, name) -> None:
    given = arguments_for(library, bits)

    def pipeline():
        return DiffusionPipeline.from_pretrained(folder_of(name), **given)

    dit = ds.load(pipeline()) if bits == 8 else ds.load(str(folder_of(name)), **given)
    require_like_plain(dit, pipeline, name, tmp_path / "a.zarr")


@pytest.mark.parametrize("offload", [model_offload, sequential_offload, group_offload("leaf_level")])
def test_quantized_weights_can_be_offloaded(folder_of, tmp_path, offload) -> None:
    offloaded, plain = (ds.load(str(folder_of("flux")), **arguments_for(torchao, 8)) for _ in range(2))
    offload(offloaded.diffusers_pipeline, tmp_path)
    assert weights_fingerprint(offloaded) == weights_fingerprint(plain)
    images = [run_traced(dit, SAMPLES, **call("flux")).images for dit in (offloaded, plain)]
    assert np.array_equal(*images)
    assert offloaded.check(PROMPTS[0], **call("flux")).ok


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_holds_under_layerwise_casting(folder_of, name) -> None:
    dit = ds.load(str(folder_of(name)))
    dit.diffusers_pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    report = dit.check(PROMPTS[0], **call(name))
    assert report.ok, report


@pytest.mark.parametrize("library", [torchao, quanto])
def test_the_fingerprint_reads_codes_scales_and_scheme(folder_of, opened, library) -> None:
    def load(bits: int):
        return ds.load(str(folder_of("flux")), **arguments_for(library, bits))

    eight, again, four = load(8), load(8), load(4)
    loaded = (eight, again, four, opened("flux", torch.bfloat16))
    states = [live_state(dit)["transformer"]["quantization"] for dit in loaded]
    assert states[0] == states[1] != states[2] != states[3] is None
    assert live_state(eight) == live_state(again)
    prints = [weights_fingerprint(dit) for dit in loaded]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    weight = eight.diffusers_pipeline.transformer.x_embedder.weight
    scale = next(part for part in weight.__tensor_flatten__()[0] if "scale" in part)
    getattr(weight, scale).mul_(2)
    assert weights_fingerprint(eight) != prints[0]
    codes = next(part for part in weight.__tensor_flatten__()[0] if "scale" not in part)
    getattr(again.diffusers_pipeline.transformer.x_embedder.weight, codes).view(-1)[9].add_(1)
    assert weights_fingerprint(again) != prints[0]


def test_the_fingerprint_tells_quantized_activations_from_plain_ones(folder_of) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig

    def load(scheme) -> str:
        mapping = PipelineQuantizationConfig(quant_mapping={"transformer": TorchAoConfig(scheme)})
        return weights_fingerprint(ds.load(str(folder_of("flux")), quantization_config=mapping))

    assert load(Int8WeightOnlyConfig()) != load(Int8DynamicActivationInt8WeightConfig())


class CodesAndScale(torch.nn.Linear):
    """A layer that keeps its scale where bitsandbytes keeps its own: saved, but no parameter and no buffer."""

    scale = torch.ones(1)

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight.absmax"] = self.scale


def test_the_fingerprint_reads_what_a_layer_saves_beside_its_parameters(folder_of) -> None:
    dit = ds.load(str(folder_of("flux")))
    layer = dit.diffusers_pipeline.transformer.x_embedder = CodesAndScale(16, 32)
    before = weights_fingerprint(dit)
    assert weights_fingerprint(dit) == before
    layer.scale = torch.full((1,), 2.0)
    assert weights_fingerprint(dit) != before
