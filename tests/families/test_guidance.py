"""Guided images are those of diffusers' own pipeline with a transformer that is run twice under plain hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import IN_BOTH_WAYS, ONE_OF_EACH_FAMILY, SEEDS, batch, branches, call
from plain_modules import modules_of

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.tracing.replay import BY_BLOCK

CHANNELS, W, SCALE = [3, 7], 2.0, 3.0
RENORMED = ("qwen-image", "lumina2")
"""Pipelines that scale what guidance combines to the norm of the conditional output."""


class PlainLoop:
    """A plain pipeline whose transformer runs every conditional visit again, with a module's output edited.

    Attributes:
        images: what it makes.
        seen: of each step, D(c), D(0), D_m(c), and what the scheduler is passed.
    """

    def __init__(
        self,
        pipeline: Any,
        name: str,
        module: torch.nn.Module | int,
        item: int | None = None,
        square: bool = False,
        rule: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self.again, self.seen = False, []
        transformer, scheduler = pipeline.transformer, pipeline.scheduler
        own, step = transformer.forward, scheduler.step
        n_images, scale = 2, SCALE if len(branches(name)) == 2 else 1.0
        visits: list[None] = []

        def twice(*args: Any, **kwargs: Any) -> Any:
            main = own(*args, **kwargs)[0]
            visits.append(None)
            at = len(visits) - 1
            per_step = 2 if name in plain_hooks.TWICE else 1
            number, rows = plain_hooks.branch_rows(name, scale > 1, at // per_step, "cond", n_images)
            if number != at:
                self.seen[-1]["uncond"] = main
                return (main,)
            self.again = True
            other = own(*args, **kwargs)[0]
            self.again = False
            self.seen.append({"cond": main[rows], "degraded": other[rows]})
            if name in plain_hooks.DOUBLED:
                self.seen[-1]["uncond"] = main[:n_images]
            change = main[rows].float() - other[rows].float()
            guided = main.clone()
            guided[rows] = (main[rows].float() + torch.tensor(W / scale) * change).to(main.dtype)
            return (guided,)

        def watched(output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.seen[-1]["passed"] = output
            return step(output, *args, **kwargs)

        def zeroed(output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, :, CHANNELS] = 0
            return output

        def hook(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
            if not self.again:
                return output
            own = output if item is None else output[item]
            passed = kwargs.get("hidden_states", args[0] if args else None)
            new = zeroed(own) if rule is None else rule(module, passed, own)
            return new if item is None else (*output[:item], new, *output[item + 1 :])

        def edit(_visit: int, image: torch.Tensor) -> torch.Tensor:
            return zeroed(image) if self.again else image

        handle = None if isinstance(module, int) else module.register_forward_hook(hook, with_kwargs=True)
        transformer.forward, scheduler.step = twice, watched
        try:
            block = (module, edit) if isinstance(module, int) else None
            self.images = plain_hooks.run(
                pipeline, name, batch(name), SEEDS * 2, block, **call(name, square)
            ).images
        finally:
            del transformer.forward, scheduler.step
            if handle is not None:
                handle.remove()


def images(dit: Any, name: str, guidance: Any, square: bool = False) -> np.ndarray:
    with guidance:
        return dit.generate_images(batch(name), SEEDS, batch_size=2, **call(name, square)).values


@IN_BOTH_WAYS
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_guided_images_are_those_of_a_plain_loop(opened, folder_of, name, dtype, square) -> None:
    dit = opened(name, dtype)
    # The last block behind which blocks are left, and the one behind which there is the readout alone.
    block = len(dit.blocks) - (1 if square else 2)
    loop = PlainLoop(plain_hooks.opened(folder_of(name), dtype), name, block, square=square)
    assert np.array_equal(images(dit, name, ds.guidance.detail(CHANNELS, W, block), square), loop.images)
    if square:
        return
    for step in loop.seen:
        cond, degraded = step["cond"].double(), step["degraded"].double()
        expected = cond + W * (cond - degraded)
        if "uncond" in step:
            expected = expected + (SCALE - 1) * (cond - step["uncond"].double())
            if name in RENORMED:
                led = cond + W / SCALE * (cond - degraded)
                expected = expected * led.norm(dim=-1, keepdim=True) / expected.norm(dim=-1, keepdim=True)
        passed = step["passed"].double()
        expected = -expected if name == "lumina2" else expected[:, : passed.shape[1]]
        assert torch.allclose(passed, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "site", "streams"),
    [
        ("flux", "attn_output", ["image"]),
        ("sd3", "attn_output", ["text"]),
        ("cogview4", "mlp_output", ["image", "text"]),  # one module, called for a stream after the other
    ],
)
def test_a_degraded_branch_may_be_edited_inside_a_block(opened, folder_of, name, site, streams) -> None:
    pipeline = plain_hooks.opened(folder_of(name))
    module, item = modules_of(name)[site, streams[0]]
    loop = PlainLoop(pipeline, name, plain_hooks.blocks_of(pipeline)[1].get_submodule(module), item)
    edits = [ds.edits.zero(CHANNELS, blocks=1, site=site, stream=stream) for stream in streams]
    assert np.array_equal(images(opened(name), name, ds.guidance.from_edits(edits, W)), loop.images)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_comparison_guides_as_the_context_does(opened, name) -> None:
    """The guidance begins in the second step: the first is the unedited run's, whose visits are not made again."""
    dit = opened(name)
    guidance = ds.guidance.detail(CHANNELS, W, 1, steps=[1])
    expected = images(dit, name, guidance)
    found = ds.compare(
        dit, batch(name), SEEDS, {"guided": guidance}, ["psnr"], batch_size=2, resamples=2, **call(name)
    )
    assert found.attrs["replay"] == BY_BLOCK
    assert np.array_equal(found["images"][0, 0], expected)
    assert not np.array_equal(found["baseline_images"], expected)
    assert dit.run_state.n_forwards == 2  # of the last run


def attended_alone(n_image: int) -> Callable[..., torch.Tensor]:
    """Each image token, of those that come last, puts out the projection of its own value."""

    def rule(attention: Any, passed: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        alone = attention.to_out[0](attention.to_v(passed))
        return torch.cat([output[:, :-n_image], alone[:, -n_image:]], dim=1)

    return rule


@IN_BOTH_WAYS
@pytest.mark.parametrize(
    ("name", "block"), [*((name, 1) for name in ONE_OF_EACH_FAMILY if name != "lumina2"), ("auraflow", -1)]
)
def test_perturbed_attention_is_a_loop_of_values_alone(
    opened, folder_of, plainly, name, block, dtype, square
) -> None:
    dit, pipeline = opened(name, dtype), plain_hooks.opened(folder_of(name), dtype)
    module, item = modules_of(name)["attn_output", "image"]
    place = plain_hooks.blocks_of(pipeline)[block].get_submodule(module)
    n_image = plainly(name, dtype, square)[0].hidden[0, 1, "image"].shape[1]
    rule = attended_alone(n_image)
    loop = PlainLoop(pipeline, name, place, None if block == -1 else item, square, rule)
    guidance = ds.guidance.perturbed_attention(W, blocks=block)
    assert np.array_equal(images(dit, name, guidance, square), loop.images)
    zeroed = ds.guidance.from_edits(ds.edits.zero(None, blocks=block, site="attn_output"), W)
    assert square or not np.array_equal(images(dit, name, zeroed), loop.images)


def test_perturbed_attention_is_refused_where_values_do_not_tell_the_output(opened) -> None:
    with pytest.raises(UnsupportedError, match="identity attention in joint.1"):
        images(opened("lumina2"), "lumina2", ds.guidance.perturbed_attention(W, blocks=1))
