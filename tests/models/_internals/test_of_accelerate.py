"""Accelerate's hooks are what they are taken for."""

from __future__ import annotations

import accelerate
import torch

from ditscope.models._internals.of_accelerate import accelerate_hooks
from doubling import Doubling, unwrapped


def test_accelerates_wrapper_and_weights_are_known() -> None:
    module = Doubling()
    expected = module.inner.weight.clone()
    accelerate.cpu_offload(module, torch.device("cpu"))
    assert module.inner.weight.is_meta
    (hook,) = accelerate_hooks(module.inner)
    assert hook.place_submodules is False
    assert hook.weights_map["weight"].equal(expected)
    assert unwrapped(module)[-1].__func__ is Doubling.forward
