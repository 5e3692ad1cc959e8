"""A model that was changed on the way is refused, with the fields and both values."""

from __future__ import annotations

import pytest

from ditscope.errors import ConfigMismatchError
from ditscope.tracing.unchanged import model_state, require_unchanged


def test_a_model_that_was_changed_is_refused_by_name(dit, monkeypatch) -> None:
    before = model_state(dit)
    require_unchanged(dit, before)
    monkeypatch.setattr(dit.diffusers_pipeline.vae, "use_slicing", True)
    with pytest.raises(ConfigMismatchError, match=r"AutoencoderKL\.use_slicing: found True, expected False"):
        require_unchanged(dit, before)


def test_one_weight_that_was_written_behind_torch_is_refused(dit) -> None:
    before = model_state(dit)
    weight = dit.diffusers_pipeline.transformer.x_embedder.weight
    kept = weight[2, 3].item()
    weight.data[2, 3] = kept + 1
    with pytest.raises(
        ConfigMismatchError, match=r"meanwhile \(weights_fingerprint: found '\w+\.\.\., expected '\w+\.\.\.\)"
    ):
        require_unchanged(dit, before)
    weight.data[2, 3] = kept
    require_unchanged(dit, before)
