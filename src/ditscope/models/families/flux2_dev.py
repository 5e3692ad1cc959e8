"""FLUX.2 dev: the transformer of FLUX.2 klein, with an embedded guidance scale."""

from __future__ import annotations

from dataclasses import replace

from ditscope.models.families.flux2 import FLUX2_KLEIN
from ditscope.models.family import NO_GUIDANCE

__all__ = ["FLUX2_DEV"]

FLUX2_DEV = replace(
    FLUX2_KLEIN,
    name="FLUX.2 dev",
    pipelines=("Flux2Pipeline",),
    guidance=replace(NO_GUIDANCE, embedded=True),
    examples=("black-forest-labs/FLUX.2-dev",),
    refused={},
)
