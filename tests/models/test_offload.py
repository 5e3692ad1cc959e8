"""Weights that are kept away from their modules are found, with their values."""

from __future__ import annotations

import accelerate
import torch
from diffusers.hooks import apply_group_offloading

from ditscope.models._internals.of_torch import members_of
from ditscope.models.offload import mixed_up_on_disk, networks, stored_tensors

CPU = torch.device("cpu")


class Tied(torch.nn.Module):
    """Two layers with one weight, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.arange(3.0))
        self.extra = torch.nn.Parameter(torch.ones(2))


NAMES = ["first.weight", "first.bias", "second.bias", "extra", "table"]


def values(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in stored_tensors(members_of(network))}


def require_same(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = values(network)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_parameters_and_buffers_come_once_each() -> None:
    assert sorted(values(Tied())) == sorted(NAMES)


def test_what_accelerate_took_away_is_read_where_it_is_kept() -> None:
    network = Tied()
    before = values(network)
    accelerate.cpu_offload(network, CPU, offload_buffers=True)
    assert network.extra.is_meta
    assert network.table.is_meta
    require_same(network, before)


def test_what_group_offload_put_on_disk_is_read_from_there(tmp_path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    before = values(network)
    apply_group_offloading(network, CPU, CPU, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    for parameter in network.parameters():  # as memory that was never written may look
        parameter.data = torch.full_like(parameter.data, 7.0)
    require_same(network, before)
    assert list(mixed_up_on_disk(members_of(network))) == []


def test_a_weight_in_two_groups_on_disk_is_named(tmp_path) -> None:
    network = Tied()
    apply_group_offloading(network, CPU, CPU, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    assert ("first", "second") in list(mixed_up_on_disk(members_of(network)))


def test_networks_are_the_components_that_are_modules(dit) -> None:
    found = networks(dit.diffusers_pipeline)
    assert set(found) == {"transformer", "vae", "text_encoder", "text_encoder_2"}
    assert found["vae"] is dit.diffusers_pipeline.vae
