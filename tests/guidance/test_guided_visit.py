"""What guidance does at each visit: when it acts, by how much, and what it reports."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
import ditscope as ds
from ditscope.errors import EditError
from ditscope.guidance import GuidedVisit
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

IDS, BLOCK = [3, 77, 120], "double.2"
SAMPLES = [("a red circle", 5), ("a white star", 6)]
GUIDED, PLAIN = bare_pipeline.GUIDED, bare_pipeline.PLAIN
ZERO = ds.edits.zero(IDS, blocks=BLOCK)
OTHERS = {
    "blurred": ds.edits.blur(None, 1.0, blocks=BLOCK),
    "random": ds.edits.zero([5, 6, 7, 8], blocks=BLOCK),
    "attention skipped": [
        ds.edits.zero(None, blocks=BLOCK, site="attn_output", stream=stream) for stream in ("image", "text")
    ],
}


def run(dit, guidance=None, n_steps=1, call=GUIDED):
    """Latents at the step boundaries ``[row, boundary, token, channel]``, and the visitor."""
    visitor = None if guidance is None else GuidedVisit(dit, guidance, range(n_steps))
    made = run_traced(dit, SAMPLES, visitor, keep_latents=True, num_inference_steps=n_steps, **call)
    if visitor is not None:
        visitor.require_fired()
    return made.latents.astype(np.float64), visitor


def size(latents: np.ndarray) -> np.ndarray:
    return np.sqrt((latents**2).sum(axis=(1, 2)))


@pytest.fixture(scope="module", params=["guided", "not guided"])
def call(request):
    return GUIDED if request.param == "guided" else PLAIN


def test_without_weight_the_latents_are_the_same_bit_for_bit(dit, call) -> None:
    bare, _ = run(dit, n_steps=2, call=call)
    same, visitor = run(dit, ds.guidance.from_edits(ZERO, 0.0), n_steps=2, call=call)
    assert np.array_equal(same, bare)
    assert (visitor.norms()["guidance"] > 0).all()


@pytest.mark.parametrize("name", OTHERS)
def test_norms_are_matched_for_each_row(dit, call, name) -> None:
    bare, _ = run(dit, call=call)
    massive, reference = run(dit, ds.guidance.from_edits(ZERO, 2.0), call=call)
    alone, _ = run(dit, ds.guidance.from_edits(OTHERS[name], 2.0), call=call)
    matched, visitor = run(dit, ds.guidance.from_edits(OTHERS[name], 2.0, match_norm_of=ZERO), call=call)
    # One step from noise to image: what guidance adds to the latents is w times the matched difference.
    added = [(latents - bare)[:, -1] for latents in (massive, alone, matched)]
    assert size(added[2]) == pytest.approx(size(added[0]), rel=1e-3)
    assert size(added[1]) != pytest.approx(size(added[0]), rel=0.05)
    share = size(added[2]) / size(added[1])
    assert np.allclose(added[2], share[:, None, None] * added[1], atol=1e-4 * np.abs(added[2]).max())
    norms = visitor.norms()
    assert norms["guidance"].to_numpy() == pytest.approx(size(added[2]) / 2.0, rel=1e-3)
    assert norms["difference"].to_numpy() == pytest.approx(size(added[1]) / 2.0, rel=1e-3)
    assert norms["guidance"].to_numpy() == pytest.approx(reference.norms()["difference"].to_numpy(), rel=1e-5)


def test_it_acts_in_its_steps_alone(dit, call) -> None:
    bare, _ = run(dit, n_steps=3, call=call)
    guided, visitor = run(
        dit, ds.guidance.from_edits(ds.edits.zero(IDS, blocks=BLOCK, steps=[1]), 2.0), 3, call
    )
    assert np.array_equal(guided[:, :2], bare[:, :2])
    assert not np.array_equal(guided[:, 2], bare[:, 2])
    assert dit.run_state.n_forwards == dit.run_state.n_visits + 1
    assert visitor.norms()[["step", "row"]].to_numpy().tolist() == [[1, 0], [1, 1]]


def test_a_matched_norm_is_of_steps_of_both(dit) -> None:
    late, early = ds.edits.zero(IDS, blocks=BLOCK, steps=[1, 2]), ds.edits.zero(IDS, blocks=3, steps=[0, 1])
    _, visitor = run(dit, ds.guidance.from_edits(late, 2.0, match_norm_of=early), 3)
    assert visitor.norms()["step"].tolist() == [1, 1]


def test_a_norm_that_is_of_no_step_of_it_is_refused_before_a_run(dit) -> None:
    late, early = (ds.edits.zero(IDS, blocks=BLOCK, steps=steps) for steps in ([1], [0]))
    call = {"num_inference_steps": 2, **PLAIN}
    looked = probe(dit, SAMPLES, **call)
    for edits, matched in ((late, early), ([late, early], late)):
        guidance = ds.guidance.from_edits(edits, 2.0, match_norm_of=matched)
        with pytest.raises(EditError, match="at no step of the one whose norm is matched"):
            GuidedVisit(dit, guidance, range(2)).check(looked)
    GuidedVisit(dit, ds.guidance.from_edits([late, early], 2.0), range(2)).check(looked)
    before = dit.run_state.n_visits
    with guidance, pytest.raises(EditError, match="at no step"):
        dit.generate_images(*SAMPLES[0], **call)
    assert dit.run_state.n_visits == before  # of the probe


def test_edits_of_several_blocks_and_steps_make_one_branch(dit) -> None:
    """The blocks that are run again are those behind the first edit that acts in the step."""
    edits = [ds.edits.zero(IDS, blocks=6, steps=[0, 1]), ds.edits.zero(IDS, blocks=1, steps=[1])]
    _, visitor = run(dit, ds.guidance.from_edits(edits, 2.0), 2)
    fired = visitor.firings.table()[["step", "block", "branch", "row"]].to_numpy().tolist()
    assert fired == [[step, block, "cond", row] for step, block in [(0, 6), (1, 1), (1, 6)] for row in (0, 1)]


def test_a_disruption_may_follow_the_noise_level(dit) -> None:
    parts = [
        ds.edits.scale(IDS, factor, blocks=BLOCK, sigmas=sigmas)
        for factor, sigmas in ((0.5, (0.9, 1.0)), (0.0, (0.0, 0.89)))
    ]
    both, visitor = run(dit, ds.guidance.from_edits(parts, 2.0), 2)
    half, _ = run(dit, ds.guidance.detail(IDS, 2.0, BLOCK, rho=0.5), 2)
    assert np.array_equal(both[:, 1], half[:, 1])
    assert not np.array_equal(both[:, 2], half[:, 2])
    assert visitor.firings.table()["edit"].str[:11].tolist() == ["scale by 0."] * 2 + ["scale by 0 "] * 2


def test_an_edit_that_never_fires_is_an_error(dit) -> None:
    mask = np.zeros(32, bool)
    with pytest.raises(EditError, match="fired nowhere"):
        run(dit, ds.guidance.from_edits([ZERO, ds.edits.zero(IDS, blocks=3, tokens=mask)], 2.0))
