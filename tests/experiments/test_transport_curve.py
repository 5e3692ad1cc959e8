"""Edits at several strengths: what compare says of each."""

from __future__ import annotations

import numpy as np
import pytest

import bare_pipeline
import ditscope as ds
from ditscope.errors import InputError

PROMPT, CALL = "a red circle", {"num_inference_steps": 1, **bare_pipeline.PLAIN}


def test_each_strength_is_what_compare_makes_of_it(dit) -> None:
    source = ds.capture(dit, "a white star", 3, blocks=[2], **CALL)
    edits = {
        "some": ds.edits.patch(source, [1, 2], blocks=[2]),
        "random": ds.edits.patch(source, [5, 6], blocks=[2], control=True),
    }
    curves = ds.transport_curve(dit, PROMPT, 0, edits, [1.0, 0.0], metrics=["psnr"], **CALL)
    assert curves["edit"].values.tolist() == ["some at 1", "some at 0", "random at 1", "random at 0"]
    assert curves["curve"].values.tolist() == ["some", "some", "random", "random"]
    assert curves["alpha"].values.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert curves["control"].values.tolist() == [False, False, True, True]
    assert np.isinf(curves["value"].sel(edit=["some at 0", "random at 0"])).all()
    alone = ds.compare(dit, PROMPT, 0, {"some at 1": edits["some"]}, ["psnr"], **CALL)
    assert np.array_equal(curves["images"].sel(edit="some at 1"), alone["images"].sel(edit="some at 1"))
    assert ds.plots.interpolation_curve(curves).axes


@pytest.mark.parametrize(
    ("edits", "alphas"),
    [
        ({}, [1.0]),
        ({"zero": ds.edits.zero([1])}, [1.0]),
        (None, [1.0]),
        ({"a": None}, []),
        (ds.edits.patch(ds.edits.LockStep({"a": "b"})), [1.0]),
    ],
)
def test_what_has_no_strength_is_refused(dit, edits, alphas) -> None:
    with pytest.raises(InputError, match="patch or transport"):
        ds.transport_curve(dit, PROMPT, 0, edits, alphas, **CALL)


def test_a_strength_that_comes_twice_is_refused() -> None:
    edits = {"some": ds.edits.patch(ds.edits.LockStep({"a": "b"}))}
    with pytest.raises(InputError, match="alphas that differ"):
        ds.transport_curve(None, PROMPT, 0, edits, [0.5, 0.0, 0.5])
