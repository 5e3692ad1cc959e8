"""Masks are those of the pass, and of the embedded world have their IoU with the reference."""

from __future__ import annotations

import numpy as np
import pytest
from store_recording import fill, make_manifest, make_schema

import ditscope as ds
from ditscope.cache import CacheWriter, SampleSpec, open_cache
from ditscope.errors import InputError
from ditscope.explorer.view import Place
from ditscope.explorer.views import mask
from ditscope.shapes.scenes import make_scene

AT = Place("image", "block_output", 1, 3, "uncond", 4)


def test_it_is_the_mask_of_the_pass(ask, run, place, cache) -> None:
    said = ask("mask", **place, channels="5,9,70")
    expected = ds.passes.spatial_masks(cache, [5, 9, 70], blocks=4, steps=3, branch="uncond").sel(sample=1)
    assert said.arrays["mask"].tolist() == expected["mask"].values.tolist()
    assert said.values["share"] == float(expected["foreground_share"])
    assert "iou" not in said.values
    assert run(said, "masks")["mask"].sel(sample=1).values.tolist() == said.arrays["mask"].tolist()
    with pytest.raises(InputError, match="text stream"):
        ask("mask", **place | {"stream": "text"}, channels="5")


def test_the_embedded_world_has_a_reference(tmp_path) -> None:
    scene = make_scene(3, 64)
    schema = make_schema(image_height=64, image_width=64)
    for model in ("shapes", "tests/tiny"):
        path = tmp_path / model.replace("/", "-")
        specs = [SampleSpec("a scene", 0), SampleSpec(scene.caption, 0)]
        with CacheWriter.create_or_resume(path, schema, make_manifest(schema, model=model), specs) as writer:
            writer.put_image(1, scene.image)
            put_image, writer.put_image = writer.put_image, lambda *_: None
            fill(writer, 1)
            writer.put_image = put_image
            writer.commit(1)
        said = mask(open_cache(path), AT, (5, 9, 70))
        assert ("iou" in said.values) == (model == "shapes")
        if model == "shapes":
            reference = ds.shapes.reference_mask(scene.image, scene.caption)
            assert said.arrays["reference"].tolist() == reference.tolist()
            cells = np.arange(64) + 0.5
            rows, columns = (cells * 3 / 64).astype(int), (cells * 4 / 64).astype(int)
            large = said.arrays["mask"][np.ix_(rows, columns)]
            assert said.values["iou"] == pytest.approx((large & reference).sum() / (large | reference).sum())
