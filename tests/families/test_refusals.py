"""What breaks the mapping of visits is refused by name, before a run."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tiny
from diffusers import FirstBlockCacheConfig, LayerSkipConfig
from diffusers.hooks import apply_first_block_cache, apply_layer_skip

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.tracing.run import run_traced

SAMPLE = [(tiny.PROMPTS[0], 0)]
CALL = {"num_inference_steps": 2, "height": 16, "width": 24}


@pytest.fixture
def fresh(folder_of):
    """Name -> a pipeline that a test may spoil."""
    return lambda name: ds.load(str(folder_of(name)))


def first_block_cache(transformer) -> None:
    apply_first_block_cache(transformer, FirstBlockCacheConfig(threshold=0.2))


def layer_skip(transformer) -> None:
    apply_layer_skip(transformer, LayerSkipConfig(indices=[1], fqn="transformer_blocks"))


def teacache(transformer) -> None:
    transformer.enable_teacache = True


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (first_block_cache, r"step caching .*\(fbc_leader_block_hook\)"),
        (layer_skip, r"\(layer_skip_hook\)"),
        (teacache, r"\(enable_teacache\)"),
        (
            lambda transformer: transformer.transformer_blocks[1].compile(),
            r"double\.1 compiled with torch.compile",
        ),
        (lambda transformer: transformer.compile(), "transformer compiled"),
    ],
)
def test_a_spoilt_transformer_is_refused_by_name(fresh, spoil, told) -> None:
    dit = fresh("flux")
    spoil(dit.diffusers_pipeline.transformer)
    for action in (lambda: run_traced(dit, SAMPLE, **CALL), lambda: dit.check(**CALL)):
        with pytest.raises(UnsupportedError, match=told):
            action()


def test_a_forward_from_elsewhere_is_refused(fresh, monkeypatch) -> None:
    dit = fresh("flux")

    def forward(self, *args, **kwargs):
        raise AssertionError("never run")

    monkeypatch.setattr(type(dit.diffusers_pipeline.transformer), "forward", forward)
    with pytest.raises(UnsupportedError, match="a forward from .*test_refusals"):
        run_traced(dit, SAMPLE, **CALL)


def test_skip_layer_guidance_is_refused_by_name(opened) -> None:
    dit = opened("sd3")
    with pytest.raises(UnsupportedError, match="skip-layer guidance"):
        run_traced(dit, SAMPLE, skip_guidance_layers=[1], **CALL)

    def in_a_trace() -> None:
        with dit.generate(SAMPLE[0][0], skip_guidance_layers=[1], **CALL) as tracer:
            for _ in dit.visits(tracer):
                dit.blocks[0].image[:] = 0

    with pytest.raises(UnsupportedError, match="skip-layer guidance"):
        in_a_trace()
    run_traced(dit, SAMPLE, **CALL)


def test_a_second_run_while_one_is_going_on_is_refused_and_leaves_it_whole(opened) -> None:
    dit = opened("flux")
    expected = run_traced(dit, SAMPLE, **CALL).images
    errors: list[BaseException] = []

    def intrude() -> None:
        try:
            run_traced(dit, SAMPLE, **CALL)
        except BaseException as error:
            errors.append(error)

    def at_visit(visit) -> None:
        if visit.index == 0:
            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join()

    images = run_traced(dit, SAMPLE, at_visit, **CALL).images
    assert [type(error) for error in errors] == [UnsupportedError]
    assert np.array_equal(images, expected)
