"""A network's modules by class: small, and where modules differ it says which, and by what."""

from __future__ import annotations

import torch
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook

from ditscope.models.module_table import common, module_table
from ditscope.models.plain_form import PlainForm

NORM = "torch.nn.modules.normalization.LayerNorm"


def norms(n: int = 5) -> torch.nn.Sequential:
    return torch.nn.Sequential(*(torch.nn.LayerNorm(4) for _ in range(n)))


def table(network: torch.nn.Module) -> dict:
    return module_table(list(network.named_modules()), PlainForm())


def test_what_all_modules_share_is_one_value() -> None:
    found = table(norms())
    assert found[NORM]["eps"] == 1e-05
    assert found[NORM]["normalized_shape"] == [4]
    assert found[NORM]["modules"].startswith("5 ")
    assert table(norms()) == found


def test_a_module_that_differs_is_named_and_which_one_it_is_counts() -> None:
    first, second = norms(), norms()
    first[1].eps = second[2].eps = 0.5
    a, b = (table(network)[NORM]["eps"] for network in (first, second))
    assert a["values"] == {"1e-05": 4, "0.5": ["1"]}
    assert b["values"] == {"1e-05": 4, "0.5": ["2"]}
    assert a["digest"] != b["digest"]


def test_swapped_modules_and_attributes_that_some_lack_are_seen() -> None:
    ones = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.SiLU())
    others = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.ReLU())
    assert table(ones).keys() == table(others).keys()
    assert table(ones) != table(others)
    network = norms()
    network[3].mine = 1.0
    assert table(network)[NORM]["mine"]["values"] == {"1.0": ["3"]}


def test_many_values_are_counted_and_the_rarest_shown() -> None:
    found = common([(str(number), number) for number in range(40)])
    assert found["distinct"] == 40
    assert found["values"] == {str(number): [str(number)] for number in range(34, 40)}
    assert common([("a", 1)]) == 1


def test_casting_by_a_hook_of_diffusers_is_seen() -> None:
    network = norms()
    before = table(network)
    apply_layerwise_casting_hook(network[0], torch.float16, torch.float32, non_blocking=False)
    (hook,) = table(network)[NORM]["diffusers_hooks"]["values"]
    assert "float16" in hook
    assert {**table(network)[NORM], "diffusers_hooks": None} == {**before[NORM], "diffusers_hooks": None}
