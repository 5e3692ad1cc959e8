"""Tiny pipelines, each built and opened once a session."""

from __future__ import annotations

import functools

import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, FluxImg2ImgPipeline

import ditscope.checking  # noqa: F401  before tracing, which imports from it and is imported by it


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Name -> folder of the tiny pipeline."""
    return functools.cache(lambda name: tiny.save(name, tmp_path_factory.mktemp("tiny") / name))


@pytest.fixture(scope="session")
def opened(folder_of):
    """Name, dtype -> the tiny pipeline, opened."""
    import ditscope as ds

    return functools.cache(lambda name, dtype=torch.float32: ds.load(str(folder_of(name)), torch_dtype=dtype))


@pytest.fixture(scope="session")
def opened_image_to_image(folder_of, tmp_path_factory):
    """dtype -> the tiny FLUX.1 pipeline as an image-to-image one, opened."""
    import ditscope as ds

    folder = tmp_path_factory.mktemp("tiny") / "img2img"
    plain = DiffusionPipeline.from_pretrained(folder_of("flux"))
    FluxImg2ImgPipeline.from_pipe(plain).save_pretrained(folder)
    return functools.cache(lambda dtype=torch.float32: ds.load(str(folder), torch_dtype=dtype))


@pytest.fixture(scope="session")
def image_to_image(opened_image_to_image):
    """The tiny FLUX.1 pipeline as an image-to-image one in float32, opened."""
    return opened_image_to_image()
