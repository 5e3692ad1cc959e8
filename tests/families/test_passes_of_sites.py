"""Passes that put sites together, against plain hooks: features as attention is passed them, and what blocks add."""

from __future__ import annotations

import numpy as np
import plain_hooks
import pytest
import torch
from family_calls import PROMPTS, SEEDS, call

import ditscope as ds
from ditscope.errors import UnsupportedError

ENDS = ("block_input", "block_output", "attn_gate")
INSIDE = ("attn_output", "mlp_output", "mlp_gate")


def captured(dit, name, **kept):
    return ds.capture(dit, PROMPTS[0], SEEDS[0], **kept, **call(name))


@pytest.mark.parametrize(
    ("name", "attn"), [("flux", "attn"), ("sd3", "attn"), ("sana", "attn1"), ("flux2-klein", "attn")]
)
def test_modulated_features_are_what_attention_is_passed(opened, folder_of, name, attn) -> None:
    made = captured(opened(name), name, sites=["block_input", "attn_shift", "attn_scale"], blocks=[0])
    plain = plain_hooks.opened(folder_of(name))
    passed = []
    module = getattr(plain_hooks.blocks_of(plain)[0], attn)
    hook = module.register_forward_pre_hook(
        lambda module, args, kwargs: passed.append((kwargs.get("hidden_states", *args[:1])).clone()),
        with_kwargs=True,
    )
    with hook:
        plain_hooks.run(plain, name, [PROMPTS[0]], SEEDS, **call(name))
    doubled, twice = name in plain_hooks.DOUBLED, name in plain_hooks.TWICE
    first = passed[2 if twice else 1]  # of step 1
    found = ds.passes.ditf_features(made, block=0, step=1)
    np.testing.assert_allclose(found[0], first[-1 if doubled else 0].double(), atol=2e-5)


@pytest.mark.parametrize("name", ["flux", "auraflow", "sana", "sd3.5-medium"])
def test_what_parts_add_is_what_blocks_add(opened, name) -> None:
    dit = opened(name)
    first = dit.blocks[0].kind
    made = captured(dit, name, sites=[*ENDS, *INSIDE], blocks=None if name == "flux" else first)
    found = ds.passes.residual_growth(made).isel(sample=0, step=0, branch=0).compute()
    before, after = (
        made.hidden("image", site)[0, 0, 0].values.astype(np.float64)
        for site in ("block_input", "block_output")
    )
    added = found["mean_added"].sum("part")
    np.testing.assert_allclose(added, (after - before).mean(1), atol=1e-6 * abs(after).max())
    size = abs(found["energy_growth"]).max()
    np.testing.assert_allclose(
        found["energy_added"].sum("part"), found["energy_growth"], atol=1e-9 * float(size)
    )
    split = found.sel(block=[b.index for b in dit.blocks if b.kind == first])["energy_added"]
    share = abs(split.sel(part=["attn", "other"])).sum(("block", "channel")) / abs(split).sum()
    if name == "auraflow":  # whose attention reaches the output by the MLP alone
        assert float(share.sel(part="attn")) == 0
    elif name == "flux":
        assert float(share.sel(part="other")) < 1e-5
        assert float(share.sel(part="attn")) > 1e-3
        fused = found.sel(block=[b.index for b in dit.blocks if b.kind == "single"], part="whole")
        assert fused["gate_excess"].notnull().all()
        assert fused["energy_added"].notnull().all()
    else:  # cross-attention, a second attention
        assert float(share.sel(part="other")) > 1e-3


def test_a_family_without_pooled_text_is_refused(opened) -> None:
    with pytest.raises(UnsupportedError, match="text tokens alone"):
        ds.crossed_prompts(opened("sana"), ["one", "two"])


def test_sd3_is_passed_each_text_of_its_own(opened) -> None:
    dit, texts = opened("sd3"), list(PROMPTS[:2])
    crossed, _ = ds.crossed_prompts(dit, texts)
    given = {**call("sd3"), "num_inference_steps": 1}
    made = ds.capture(dit, [crossed[0], crossed[3]], SEEDS[0], channels=[0], **given)
    plain = ds.capture(dit, texts, SEEDS[0], channels=[0], **given)
    assert np.array_equal(made.images.values, plain.images.values)
    assert torch.equal(crossed[1].tensors["prompt_embeds"], crossed[0].tensors["prompt_embeds"])
    assert not torch.equal(
        crossed[1].tensors["pooled_prompt_embeds"], crossed[0].tensors["pooled_prompt_embeds"]
    )
