"""Published checkpoints are known without the network; what follows is tested in ``tests/families``."""

from __future__ import annotations

import socket

import pytest

from ditscope.models.configuration import read_configuration
from ditscope.models.families import known_families
from ditscope.models.published import PUBLISHED


def test_every_example_of_a_family_is_there() -> None:
    assert set(PUBLISHED) == {name for family in known_families() for name in family.examples}


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_configuration_asks_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    configuration = read_configuration(name)
    assert (configuration.name, configuration.size()) == (name, (1024, 1024))
    assert name in configuration.family.examples
    if configuration.family.name == "FLUX.2 klein":
        assert ("uncond" in configuration.branches()) == ("base" in name)
