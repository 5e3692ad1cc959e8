"""What every edit has: a label, draws, a control flag, a plain form, equality and copies."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
import xarray as xr

import ditscope as ds
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits import Edit, EditContext, from_json
from ditscope.errors import InputError

IDS = [3, 77, 120]
DRAWN = ChannelSet(
    xr.DataArray([[[1, 2], [3, 4]]] * 10, dims=("block", "draw", "rank"), coords={"block": range(10)}),
    label="random 2",
    match_ratio=xr.DataArray([[0.5, np.nan]] * 10, dims=("block", "draw"), coords={"block": range(10)}),
    control=True,
)
LIVE = ds.controls.window(2, 5)
MASK = np.arange(35).reshape(5, 7) % 3 == 0
LEVELS = xr.DataArray(
    np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32),
    dims=("block", "channel"),
    coords={"block": [0, 4], "channel": [3, 77, 120], "block_name": ("block", ["double.0", "single.0"])},
)


class Quantise(Edit):
    """A kind from elsewhere: nothing but a subclass registers it."""

    step: float
    words_of_its_own: tuple[str, ...] = ("a", "b")
    inner: Edit | None = None

    def values(self, context: EditContext) -> torch.Tensor:
        return (context.old / self.step).round() * self.step


MADE = {
    "zero": lambda: ds.edits.zero(IDS),
    "scope": lambda: ds.edits.zero(
        IDS, blocks=[1, "single"], steps=range(3), branches="cond", tokens=[34, -1]
    ),
    "mask": lambda: ds.edits.zero(IDS, tokens=MASK, site="block_input"),
    "draws": lambda: ds.edits.zero(DRAWN),
    "scale": lambda: ds.edits.scale({0: [1], 3: [4, 5]}, 0.1 + 0.2, stream="text"),
    "mean": lambda: ds.edits.mean(IDS, control=False),
    "calibrated": lambda: ds.edits.mean(IDS, calibration=LEVELS),
    "double": lambda: ds.edits.mean(IDS, calibration=LEVELS.astype(np.float64) / 3),
    "missing": lambda: ds.edits.mean(IDS, calibration=LEVELS.where(LEVELS["channel"] < 100)),
    "scheduled": lambda: ds.edits.scale(IDS, [(1.0, 0.1 + 0.2), (0.0, 1.0)]),
    "by step": lambda: ds.edits.scale(IDS, xr.DataArray([0.5, 2.0], dims="step", coords={"step": [0, 3]})),
    "clamp": lambda: ds.edits.clamp(IDS, high=0.1 + 0.2),
    "noise": lambda: ds.edits.noise(IDS, 0.25, seed=3, per="step"),
    "shuffle": lambda: ds.edits.shuffle(IDS, seed=3, per="run", together=False),
    "flipped": lambda: ds.edits.flip_sign(IDS),
    "variation": lambda: ds.edits.variation_only(IDS, 0.5),
    "keep": lambda: ds.edits.keep_only(IDS, "mean"),
    "add": lambda: ds.edits.add(LEVELS, 0.5, channels=IDS, unit="token_norm", norm_preserving=True),
    "project": lambda: ds.edits.project_out(np.eye(3, 200), 2.0, blocks=[1]),
    "replace": lambda: ds.edits.replace(IDS, LEVELS),
    "all": lambda: ds.edits.zero(None, freeze_layernorm=True),
    "live": lambda: ds.edits.zero(ds.controls.top(3, statistic="std", stream="text")),
    "live random": lambda: ds.edits.zero(ds.controls.random(3, draws=2, seed=4)).draw(1),
    "matched": lambda: ds.controls.matched(ds.edits.scale(LIVE, 0.5, blocks=[1]), "removed", draws=3),
    "other": lambda: Quantise.of(IDS, {"blocks": 2}, step=0.25, inner=ds.edits.zero([4])),
}


@pytest.mark.parametrize("name", MADE)
def test_the_plain_form_makes_an_equal_edit(name) -> None:
    edit = MADE[name]()
    text = json.dumps(edit.to_json(), allow_nan=False)
    again = from_json(json.loads(text))
    assert again == edit == MADE[name]()
    assert hash(again) == hash(edit)
    assert json.dumps(again.to_json()) == text
    assert (again.label, again.control, again.draws) == (edit.label, edit.control, edit.draws)


@pytest.mark.parametrize("name", MADE)
def test_edits_are_pickled_and_copied(name) -> None:
    edit = MADE[name]()
    assert pickle.loads(pickle.dumps(edit)) == copy.deepcopy(edit) == edit


def test_different_edits_are_not_equal() -> None:
    edits = [make() for make in MADE.values()]
    assert len(set(edits)) == len(edits)
    assert edits[0] != ds.edits.scale(IDS, 0)  # another kind
    assert edits[0] != ds.edits.zero(IDS, control=True)
    assert ds.edits.scale(IDS, 0.3) != ds.edits.scale(IDS, 0.1 + 0.2)


def test_calibration_means_come_back_exactly() -> None:
    for levels in (LEVELS, LEVELS.astype(np.float64) / 3, LEVELS.where(LEVELS["channel"] < 100)):
        text = json.dumps(ds.edits.mean(IDS, calibration=levels).to_json())
        again = from_json(json.loads(text)).calibration
        xr.testing.assert_identical(again, levels)
        assert again.dtype == levels.dtype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda form: {**form, "kind": "Explode"}, "kind 'Explode'"),
        (lambda form: {**form, "kind": "Edit"}, "a plain form of Edit that cannot be read"),
        (lambda form: {**form, "strength": 3}, "cannot be read .*strength"),
        (
            lambda form: {name: value for name, value in form.items() if name != "scope"},
            "cannot be read .*scope",
        ),
        (lambda form: {**form, "factor": "much"}, "a finite number"),
        (lambda form: {**form, "scope": 3}, "cannot be read"),
        (lambda form: form["channels"], "the plain form of a ChannelSet; expected that of a Edit"),
        (lambda form: {}, "kind None"),
        (lambda form: 3, "plain form of a int"),
        (lambda form: None, "plain form of a NoneType"),
    ],
)
def test_what_is_no_plain_form_of_an_edit_is_refused(change, words) -> None:
    form = ds.edits.scale(IDS, 0.5).to_json()
    with pytest.raises(InputError, match=words):
        from_json(change(form))


def test_a_plain_form_makes_numbers_and_text_only() -> None:
    form = ds.edits.mean(IDS, calibration=LEVELS).to_json()
    form["calibration"]["dtype"] = "object"
    with pytest.raises(InputError, match="cannot be read"):
        from_json(form)


def test_a_parameter_without_a_plain_form_is_named() -> None:
    with pytest.raises(InputError, match="step=.* of type object"):
        Quantise.of(IDS, {}, step=object()).to_json()


def test_a_kind_of_the_package_cannot_be_replaced() -> None:
    with pytest.raises(InputError, match="a second Zero"):
        type("Zero", (Edit,), {"values": lambda self, context: context.old, "__module__": __name__})
    assert from_json(ds.edits.zero(IDS).to_json()) == ds.edits.zero(IDS)


def test_control_comes_from_the_channels_unless_the_caller_says_otherwise() -> None:
    random = ds.edits.zero(DRAWN)
    assert (random.control, random.draw(1).control) == (True, True)
    assert ds.edits.zero(DRAWN, control=False).draw(1).control is False
    assert (ds.edits.zero(IDS).control, ds.edits.zero(IDS, control=True).control) == (False, True)


def test_draws_are_taken_one_at_a_time() -> None:
    edit = ds.edits.zero(DRAWN)
    assert edit.draws == 2
    assert edit.draw(1).channels[4].tolist() == [3, 4]
    assert edit.draw(1).draws == 1
    assert "zero random 2" in repr(edit)
    with pytest.raises(InputError, match="draw=2"):
        edit.draw(2)


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([], "channels"),
        ([-1], "channels"),
        ([3, 3], "channels"),
        ("37", "channels of type str"),
        (12, "channels of type int"),
        ({-1: [3]}, "block -1"),
        (ChannelSet.of(IDS, stream="text"), "channels of the text stream in an edit of the image stream"),
    ],
)
def test_channels_that_cannot_be_edited_are_refused_when_the_edit_is_made(channels, words) -> None:
    with pytest.raises(InputError, match=words):
        ds.edits.zero(channels, stream="image")


def test_a_kind_of_another_package_is_not_taken_over() -> None:
    """Else its edits would be made anew as somebody else's."""
    body = {"__module__": "somebody.edits", "values": lambda self, context: context.old}
    made = type("OnlyOne", (Edit,), body)
    type("OnlyOne", (Edit,), {**body, "__module__": "somebody.newer_edits"})
    with pytest.raises(InputError, match="a second OnlyOne, in other"):
        type("OnlyOne", (Edit,), {**body, "__module__": "other"})
    assert made.__name__ == "OnlyOne"
