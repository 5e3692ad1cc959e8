"""What is refused before a run, on one model; of every kind of change in ``tests/families/test_refusals.py``."""

from __future__ import annotations

import pytest
import torch

from ditscope.errors import UnsupportedError
from ditscope.models.refusals import refuse_unmapped


def test_a_model_as_it_was_opened_is_not_refused(dit) -> None:
    refuse_unmapped(dit.run_state, {})


@pytest.mark.parametrize("mark", ["enable_teacache", "enable_cache_dit", "_is_cached"])
@pytest.mark.parametrize("owner", ["transformer", "pipeline"])
def test_marks_of_step_caching_are_refused_on_transformer_and_pipeline(dit, monkeypatch, owner, mark) -> None:
    pipeline = dit.diffusers_pipeline
    marked = pipeline if owner == "pipeline" else pipeline.transformer
    monkeypatch.setattr(marked, mark, True, raising=False)
    with pytest.raises(UnsupportedError, match=rf"step caching .*\({mark}\)"):
        refuse_unmapped(dit.run_state, {})
    monkeypatch.setattr(marked, mark, False)
    refuse_unmapped(dit.run_state, {})


def test_arguments_of_the_call_are_refused(dit) -> None:
    with pytest.raises(UnsupportedError, match="skip-layer guidance"):
        refuse_unmapped(dit.run_state, {"skip_guidance_layers": [1]})


def test_a_compiled_module_that_is_read_is_refused_by_its_place(dit, monkeypatch) -> None:
    block = dit.diffusers_pipeline.transformer.transformer_blocks[2]
    monkeypatch.setitem(block._modules, "ff", torch.compile(block.ff))
    with pytest.raises(UnsupportedError, match=r"double\.2\.ff compiled"):
        refuse_unmapped(dit.run_state, {})


def test_persistent_edits_are_refused(dit, monkeypatch) -> None:
    monkeypatch.setattr(dit.run_state, "n_persistent_edits", 2)
    with pytest.raises(UnsupportedError, match="2 persistent edits of nnsight"):
        refuse_unmapped(dit.run_state, {})


def test_dropout_is_refused_by_the_name_of_its_network_and_only_at_work(dit, monkeypatch) -> None:
    transformer = dit.diffusers_pipeline.transformer
    monkeypatch.setitem(transformer._modules, "extra", torch.nn.Dropout(0.0))
    refuse_unmapped(dit.run_state, {})
    transformer.extra.p = 0.5
    with pytest.raises(
        UnsupportedError, match=r"dropout at work in transformer\.extra.*transformer\.eval\(\)"
    ):
        refuse_unmapped(dit.run_state, {})
    transformer.extra.eval()
    refuse_unmapped(dit.run_state, {})
