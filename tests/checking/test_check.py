"""`dit.check()`: passes on the real thing, and finds every kind of wrong label."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import bare_pipeline
import ditscope as ds
from ditscope.errors import CheckError, InputError, UnsupportedError

N_CLAIMS = 13


@pytest.mark.parametrize(
    "call",
    [
        {},
        bare_pipeline.SIZE,
        {"height": 48, "width": 32, "num_inference_steps": 3},
        {"sigmas": [1.0, 0.3], **bare_pipeline.PLAIN},
    ],
)
def test_every_claim_holds_on_a_real_pipeline(dit, call) -> None:
    report = dit.check(**call)
    assert report.ok, report
    assert report.require() is report
    assert len(report.findings) == N_CLAIMS


def test_every_claim_holds_in_bfloat16(untrained_folder) -> None:
    report = ds.load(str(untrained_folder), torch_dtype=torch.bfloat16).check(**bare_pipeline.SIZE)
    assert report.ok, report
    assert "bfloat16" in report.model


def test_guidance_is_checked_even_where_the_call_is_unguided(dit) -> None:
    assert "branches cond uncond" in str(dit.check(**bare_pipeline.PLAIN))


def test_the_report_reads_as_text_and_as_html(dit) -> None:
    report = dit.check("a <b>red</b> circle", **bare_pipeline.SIZE)
    text = str(report)
    assert repr(report) == text
    assert text.count("  ok    ") == N_CLAIMS
    assert f"{N_CLAIMS} of {N_CLAIMS} hold" in text
    assert "160 of 160 tensors bit-equal" in text  # 10 blocks, 2 sites, 2 streams, 4 visits
    assert f"torch {torch.__version__}" in text
    html = report._repr_html_()
    assert html.count("✓") == N_CLAIMS
    assert "✗" not in html
    assert "the cond branch is the one that reads the prompt" in html


def relabel_streams(dit, monkeypatch) -> None:
    for block in dit.blocks:
        layout = dataclasses.replace(block.layout, outputs=("image", "text"))
        monkeypatch.setattr(block, "layout", layout)


def relabel_inputs(dit, monkeypatch) -> None:
    inputs = {"image": "encoder_hidden_states", "text": "hidden_states"}
    for block in dit.blocks:
        monkeypatch.setattr(block, "layout", dataclasses.replace(block.layout, inputs=inputs))


def shift_numbers(dit, monkeypatch) -> None:
    for block in dit.blocks:
        monkeypatch.setattr(block, "index", block.index + 1)


def rotate_numbers(dit, monkeypatch) -> None:
    for block in dit.blocks:
        monkeypatch.setattr(block, "index", (block.index + 1) % len(dit.blocks))


def rotate_blocks(dit, monkeypatch) -> None:
    monkeypatch.setattr(dit, "blocks", dit.blocks[1:] + dit.blocks[:1])


def leave_a_block_out(dit, monkeypatch) -> None:
    monkeypatch.setattr(dit, "blocks", dit.blocks[:4] + dit.blocks[5:])


def swap_branches(dit, monkeypatch) -> None:
    guidance = dataclasses.replace(dit.family.guidance, branches=("uncond", "cond"))
    monkeypatch.setattr(dit.run_state, "family", dataclasses.replace(dit.family, guidance=guidance))


@pytest.mark.parametrize(
    ("breaking", "claim"),
    [
        (relabel_streams, "what a trace reads equals what plain hooks see"),
        (relabel_inputs, "what a trace reads equals what plain hooks see"),
        (shift_numbers, "blocks run in the order of dit.blocks"),
        (rotate_numbers, "blocks run in the order of dit.blocks"),
        (rotate_blocks, "blocks run in the order of dit.blocks"),
        (leave_a_block_out, "blocks run in the order of dit.blocks"),
        (swap_branches, "the cond branch is the one that reads the prompt"),
    ],
)
def test_a_wrong_label_is_found(dit, monkeypatch, breaking, claim) -> None:
    breaking(dit, monkeypatch)
    report = dit.check(**bare_pipeline.SIZE)
    failing = [finding.claim for finding in report.findings if not finding.holds]
    assert not report.ok
    assert [claim in found for found in failing] == [True]
    assert "FAIL" in str(report)
    assert "✗" in report._repr_html_()
    with pytest.raises(CheckError, match=r"1 of \d+ checks failing") as error:
        report.require()
    assert claim in str(error.value)


def test_a_trace_that_disturbs_the_run_is_found(dit, monkeypatch) -> None:
    """A read that writes: what it reads is right, the image is not."""
    from ditscope.models.block import Block

    honest = Block.read

    def writing(self, site, stream):
        value = honest(self, site, stream)
        if (self.index, site, stream) == (9, "block_output", "image"):
            self.write(site, stream, value * 1.5)
        return value

    monkeypatch.setattr(Block, "read", writing)
    failing = [finding.claim for finding in dit.check(**bare_pipeline.SIZE).findings if not finding.holds]
    assert "the traced image equals the bare one" in failing


def test_streams_that_hooks_cannot_tell_apart_are_refused(dit) -> None:
    with pytest.raises(UnsupportedError, match="256 image tokens and as many text tokens.*another height"):
        dit.check(max_sequence_length=256)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"number_of_steps": 2}, "number_of_steps"),
        ({"generator": None}, "generator"),
        ({"num_inference_steps": 0}, "num_inference_steps=0"),
        ({"num_inference_steps": "2"}, "num_inference_steps='2'"),
        ({"sigmas": "x"}, "sigmas 'x'"),
        ({"sigmas": []}, "sigmas []"),
        ({"sigmas": [1.0, None]}, "sigmas [1.0, None]"),
    ],
)
def test_wrong_arguments_are_refused(dit, call, message) -> None:
    with pytest.raises(InputError, match="expected") as error:
        dit.check(**call)
    assert message in str(error.value)
