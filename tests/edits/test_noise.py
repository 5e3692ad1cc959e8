"""Noise in place of channels: against plain hooks, and whatever the batch, its order and the other channels are."""

from __future__ import annotations

import pytest
import torch

import ditscope as ds
import edits_by_hand
from ditscope.errors import InputError

IDS = [3, 77, 120]
SAMPLES = [("a red circle", 5), ("a white star", 6)]


def test_it_is_what_a_plain_hook_does(assert_does) -> None:
    def rule(old, place):
        return edits_by_hand.noise(old, SAMPLES, place, IDS, seed=7)

    assert_does(ds.edits.noise(IDS, seed=7), rule, ids=IDS, placed=True)


def test_one_for_each_step_or_for_the_run(assert_does) -> None:
    for per, kept in (("step", 1), ("run", 0)):
        assert_does(
            ds.edits.noise(IDS, per=per, blocks=[2]),
            lambda old, place, kept=kept: edits_by_hand.noise(old, SAMPLES, place[:kept], IDS),
            ids=IDS,
            covers=lambda visit, block: block == 2,
            placed=True,
        )


def test_norms_are_kept_and_a_share_is_mixed_in(at_place) -> None:
    hidden = torch.randn(2, 4000, 3) * torch.tensor([1.0, 50.0, 0.01])
    context = at_place(hidden)
    whole = ds.edits.noise(None).values(context)
    torch.testing.assert_close(whole.norm(dim=1), hidden.norm(dim=1))
    part = ds.edits.noise(None, 0.36).values(context)
    torch.testing.assert_close(part, 0.8 * hidden + 0.6 * whole)
    kurtosis = (whole / whole.std(dim=1, keepdim=True)).pow(4).mean(dim=1)
    assert (kurtosis - 3).abs().max() < 0.5


def test_an_images_noise_depends_on_nothing_but_its_sample_and_place(at_place) -> None:
    hidden, edit = torch.randn(2, 6, 5), ds.edits.noise(None)
    both = edit.values(at_place(hidden))
    swapped = edit.values(at_place(hidden.flip(0), samples=(("b", 2), ("a", 1)), first=7))
    assert torch.equal(swapped.flip(0), both)
    assert torch.equal(edit.values(at_place(hidden[:1])), both[:1])
    few = ds.edits.noise([4, 1]).values(at_place(hidden, ids=[4, 1]))
    torch.testing.assert_close(few, both[:, :, [4, 1]])
    # Padding behind the tokens.
    acts = (torch.arange(9) < 6)[None, :, None].expand(2, -1, -1)
    padded = edit.values(at_place(torch.cat([hidden, torch.randn(2, 3, 5)], dim=1), acts=acts))
    torch.testing.assert_close(padded[:, :6], both)
    others = [
        edit.values(at_place(hidden, **other))
        for other in ({"step": 1}, {"block": 4}, {"branch": "uncond"}, {"samples": (("a", 2), ("b", 1))})
    ]
    assert not any(
        torch.equal(other, both) for other in [*others, ds.edits.noise(None, seed=1).values(at_place(hidden))]
    )
    assert not torch.allclose(both[0] / hidden[0].norm(dim=0), both[1] / hidden[1].norm(dim=0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"share": 1.5}, "share=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"per": "block"}, "per 'block'"),
        ({"share": "x"}, "share='x'"),
    ],
)
def test_what_is_no_noise_is_refused(wrong, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.noise(IDS, **wrong)
