"""Forwards made again in a visit: what they share, what they give, and that they leave nothing behind."""

from __future__ import annotations

from collections import Counter

import accelerate
import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

import bare_pipeline
import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.models.repeated_forward import RepeatedForward, require_differentiable, require_repeatable
from ditscope.tracing.run import run_traced

SAMPLES = [("a red circle", 5), ("a white star", 6)]
CALL = {"num_inference_steps": 2, **bare_pipeline.GUIDED}  # 4 visits, 10 blocks


@pytest.fixture(scope="module")
def images(dit) -> np.ndarray:
    return run_traced(dit, SAMPLES, **CALL).images


def test_a_further_forward_gives_what_the_first_gave_from_whatever_block_on(dit, images) -> None:
    firsts, equal = [0, 1, 4, 5, 10], []
    runs: Counter[str] = Counter()

    def combine(outputs) -> torch.Tensor:
        equal.append([torch.equal(outputs[0], output) for output in outputs])
        return outputs[0]

    def at_visit(visit) -> None:
        repeated = RepeatedForward(dit, firsts)
        with repeated.combined(combine):
            for number in range(len(firsts)):
                with repeated.forward(number):
                    pass

    handles = [
        block.attn.to_q.register_forward_hook(lambda *_, name=dit.blocks[number].name: runs.update([name]))
        for number, block in enumerate(
            [
                *dit.diffusers_pipeline.transformer.transformer_blocks,
                *dit.diffusers_pipeline.transformer.single_transformer_blocks,
            ]
        )
    ]
    try:
        assert np.array_equal(run_traced(dit, SAMPLES, at_visit, **CALL).images, images)
    finally:
        for handle in handles:
            handle.remove()
    assert equal == [[True] * 6] * 4
    assert dit.run_state.n_visits == 4
    assert dit.run_state.n_forwards == 24
    expected = [4 * (1 + sum(first <= block.index for first in firsts)) for block in dit.blocks]
    assert [runs[block.name] for block in dit.blocks] == expected


def test_what_is_written_in_place_in_one_forward_stays_in_it(dit, images) -> None:
    equal = []

    def combine(outputs) -> torch.Tensor:
        equal.append([torch.equal(one, other) for one in outputs for other in outputs])
        return outputs[2]

    def at_visit(visit) -> None:
        repeated = RepeatedForward(dit, [7, 7])
        with repeated.combined(combine):
            dit.blocks[7].image_input[:] = 0  # what block 6 gave is one tensor with it
            with repeated.forward(0):
                dit.blocks[6].image[:] = 1
                dit.blocks[8].text_input = torch.zeros_like(dit.blocks[8].text_input)
            with repeated.forward(1):
                pass

    assert np.array_equal(run_traced(dit, SAMPLES, at_visit, **CALL).images, images)
    assert equal == [[True, False, False, False, True, False, False, False, True]] * 4


def test_the_pipeline_goes_on_with_what_is_combined(dit, images) -> None:
    def at_visit(visit) -> None:
        repeated = RepeatedForward(dit, [10])
        with repeated.combined(lambda outputs: outputs[1] * 0.5), repeated.forward(0):
            pass

    assert not np.array_equal(run_traced(dit, SAMPLES, at_visit, **CALL).images, images)


def test_a_run_that_fails_leaves_the_forward_as_it_was(dit, images) -> None:
    def at_visit(visit) -> None:
        repeated = RepeatedForward(dit, [3])
        with repeated.combined(lambda outputs: outputs[0] * 0), repeated.forward(0):
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        run_traced(dit, SAMPLES, at_visit, **CALL)
    assert np.array_equal(run_traced(dit, SAMPLES, **CALL).images, images)


def test_group_offload_is_refused(untrained_folder) -> None:
    pipeline = FluxPipeline.from_pretrained(untrained_folder)
    pipeline.transformer.enable_group_offload(
        onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
    )
    with ds.load(pipeline, name="offloaded") as dit, pytest.raises(UnsupportedError, match="group offload"):
        require_repeatable(dit)


def quantized(pipeline) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(pipeline.transformer, Int8WeightOnlyConfig())


def offloaded(pipeline) -> None:
    accelerate.cpu_offload(pipeline.transformer, torch.device("cpu"))


def cast(pipeline) -> None:
    pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)


def frozen(pipeline) -> None:
    with torch.inference_mode():
        pipeline.transformer.proj_out.weight = torch.nn.Parameter(torch.ones(16, 128))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (quantized, "quantized"),
        (offloaded, "offloaded or cast"),
        (cast, "offloaded or cast"),
        (frozen, "inference_mode"),
    ],
)
def test_weights_that_have_no_gradient_are_refused(untrained_folder, change, words) -> None:
    pipeline = FluxPipeline.from_pretrained(untrained_folder)
    change(pipeline)
    with ds.load(pipeline, name="changed") as dit, pytest.raises(UnsupportedError, match=words):
        require_differentiable(dit)


def test_a_forward_with_a_graph_gives_what_the_first_gave(dit, images) -> None:
    require_differentiable(dit)
    found = []

    def combine(outputs) -> torch.Tensor:
        found.append([(output.requires_grad, torch.equal(output, outputs[0])) for output in outputs])
        return outputs[0]

    def at_visit(visit) -> None:
        repeated = RepeatedForward(dit, [3], graph=True)
        with repeated.combined(combine), repeated.forward(0):
            pass

    assert np.array_equal(run_traced(dit, SAMPLES, at_visit, **CALL).images, images)
    assert found == [[(False, True), (True, True)]] * 4
