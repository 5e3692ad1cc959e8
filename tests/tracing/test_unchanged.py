"""A model that was changed on the way is refused, with the fields and both values."""

from __future__ import annotations

import pytest

from ditscope.errors import ConfigMismatchError
from ditscope.models.live_state import live_state
from ditscope.tracing.unchanged import require_unchanged


def test_a_model_that_was_changed_is_refused_by_name(dit, monkeypatch) -> None:
    before = live_state(dit)
    require_unchanged(dit, before)
    monkeypatch.setattr(dit.diffusers_pipeline.vae, "use_slicing", True)
    with pytest.raises(ConfigMismatchError, match=r"AutoencoderKL\.use_slicing: found True, expected False"):
        require_unchanged(dit, before)
