"""A module's attributes: what is set on it, without what torch and the wrappers around it keep there."""

from __future__ import annotations

import torch

from ditscope.models.module_attributes import module_attributes


def test_attributes_are_what_was_set_and_nothing_of_torchs() -> None:
    module = torch.nn.Linear(2, 3)
    module.forward, module._hf_hook, module.scale = module.forward, object(), 2.0
    module.register_forward_hook(print)
    expected = {"training": True, "in_features": 2, "out_features": 3, "scale": 2.0}
    assert dict(module_attributes(module)) == expected
