"""The families that ditscope supports: the one list to extend."""

from __future__ import annotations

from ditscope.errors import UnsupportedError, found_expected
from ditscope.models.family import Family
from ditscope.models.flux import FLUX
from ditscope.models.flux2 import FLUX2_DEV, FLUX2_KLEIN
from ditscope.models.pixart import PIXART_SIGMA
from ditscope.models.qwen_image import QWEN_IMAGE
from ditscope.models.sana import SANA
from ditscope.models.sd3 import SD3

FAMILIES: tuple[Family, ...] = (FLUX, FLUX2_KLEIN, FLUX2_DEV, QWEN_IMAGE, SANA, SD3, PIXART_SIGMA)


def supported() -> str:
    """Names of the families with their pipeline classes, for messages."""
    return "; ".join(f"{family.name} ({', '.join(family.pipelines)})" for family in FAMILIES)


def family_of(pipeline_class: str) -> Family:
    """The family that runs under a diffusers pipeline class.

    Raises:
        UnsupportedError: no family has it.
    """
    for family in FAMILIES:
        if pipeline_class in family.pipelines:
            return family
    raise UnsupportedError(
        found_expected(
            f"a pipeline of class {pipeline_class}",
            f"one of {supported()}",
            "To add a family, describe its blocks in one file of data beside "
            "ditscope/models/flux.py, list it in families.py and run `ditscope check` on it.",
        )
    )
