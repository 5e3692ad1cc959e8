"""Seeds of samples: a number, or a generator of the caller's, which stands wherever a seed may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ditscope import checks
from ditscope.models._internals.of_diffusers import compute_device
from ditscope.models.fingerprint import tensor_digest
from ditscope.models.pipeline_call import generators

Seed = int | torch.Generator


class GeneratorSeed(int):
    """The initial seed of a generator, with where it draws and the state that it was passed in.

    Attributes:
        device: where it draws.
        state: uint8 ``[byte]``.
    """

    device: torch.device
    state: torch.Tensor

    def __new__(cls, generator: torch.Generator) -> GeneratorSeed:
        """The seed of a generator, as it is now."""
        seed = generator.initial_seed()  # torch counts negative seeds down from 2**64
        made = super().__new__(cls, seed if seed < 2**63 else seed - 2**64)
        made.device, made.state = generator.device, generator.get_state()
        return made

    def generator(self) -> torch.Generator:
        """A new generator in this state, wherever the caller's has come to since."""
        made = torch.Generator(self.device)
        made.set_state(self.state)
        return made

    def is_plain(self, device: torch.device) -> bool:
        """Whether it makes the noise that its number makes as a seed on a device."""
        if device.type != self.device.type:
            return False
        return torch.equal(torch.Generator(device).manual_seed(self).get_state(), self.state)


def seeds_of(values: Any) -> list[int]:
    """One or several seeds or generators; a generator is known by its initial seed, and is not drawn from.

    Raises:
        InputError: there are none, one is neither a generator nor an integer of 64 bits, or a number comes twice.
    """
    given = [
        GeneratorSeed(each) if isinstance(each, torch.Generator) else each for each in checks.several(values)
    ]
    numbers = checks.seeds(given)
    return [
        seed if isinstance(seed, GeneratorSeed) else number
        for seed, number in zip(given, numbers, strict=True)
    ]


def generators_of(pipeline: Any, seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator for each image: the caller's as it was passed, or a fresh one where the pipeline computes."""
    return [
        seed.generator() if isinstance(seed, GeneratorSeed) else fresh
        for seed, fresh in zip(seeds, generators(pipeline, list(seeds)), strict=True)
    ]


def written_generators(pipeline: Any, seeds: Any) -> dict[str, Any]:
    """Initial seed -> device and digest of the state, of generators that make other noise than that seed does.

    Raises:
        InputError: as of :func:`seeds_of`.
    """
    device = compute_device(pipeline)
    return {
        str(int(seed)): {"device": seed.device.type, "state": tensor_digest(seed.state)}
        for seed in seeds_of(seeds)
        if isinstance(seed, GeneratorSeed) and not seed.is_plain(device)
    }
