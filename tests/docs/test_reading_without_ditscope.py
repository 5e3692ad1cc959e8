"""What ``docs/reading_without_ditscope.md`` says holds where neither ditscope nor its data type can be found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import store_recording

from ditscope.cache import open_cache

PAGE = (Path(__file__).parents[2] / "docs" / "reading_without_ditscope.md").read_text()

WITHOUT = """
import importlib.metadata, sys, warnings
importlib.metadata.entry_points = lambda **_: importlib.metadata.EntryPoints(())
sys.modules["ditscope"] = sys.modules["ml_dtypes"] = None  # an import of them fails
path, out = sys.argv[1:]
"""
SAVE = """
latents = zarr.open_array(f"{path}/trajectory/latents", mode="r")[...]
hidden = read_bfloat16(path, "image/block_output/hidden")
part = read_bfloat16(path, "text/block_output/hidden", (0, 1))
from zarr.dtype import data_type_registry
assert "bfloat16" not in data_type_registry.contents
done = xr.open_zarr(path, consolidated=False)["done"]
# As people open a store who have not read the page: xarray warns that it is slower.
warnings.simplefilter("ignore")
plainly, by_zarr = xr.open_zarr(path)["images"], zarr.open(path, mode="r")["images"][...]
gate = xr.open_dataset(path, engine="zarr", group="image/attn_gate")["values"]
text_mask = xr.open_zarr(path, group="text")["token_mask"]
refused = []
for group in ("image/block_output", "text/block_output", "trajectory", "image", "text", ""):
    try:
        xr.open_zarr(path, group=group)
    except Exception:
        refused.append(group)
np.savez(out, images=images, latents=latents, hidden=hidden, part=part, done=done, plainly=plainly, by_zarr=by_zarr,
         gate=gate, text_mask=text_mask, refused=refused, mean=mean, sigma=mean["sigma"], channel=mean["channel"],
         **{name: over_tokens.sel(statistic=name) for name in ("mean_abs", "std", "abs_max")})
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A bfloat16 store, and what the page's code reads of it without ditscope."""
    folder = tmp_path_factory.mktemp("without")
    schema = store_recording.make_schema(("attn_gate", "block_output"))
    store = store_recording.record(folder / "a.zarr", schema)
    code = [WITHOUT, *re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), SAVE]
    script = folder / "script.py"
    script.write_text("\n".join(code))
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", script, store, folder / "out.npz"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return store, dict(np.load(folder / "out.npz"))


def test_labels_statistics_images_and_latents_are_read_by_plain_xarray(read) -> None:
    cache, found = open_cache(read[0]), read[1]
    assert found["done"].tolist() == [True, True]
    for name in ("images", "plainly", "by_zarr"):
        np.testing.assert_array_equal(found[name], cache.images.values)
    np.testing.assert_array_equal(found["gate"], cache.hidden("image", "attn_gate").values)
    np.testing.assert_array_equal(found["text_mask"], cache.hidden("text")["token_mask"].values)
    np.testing.assert_array_equal(found["latents"], cache.trajectory["latents"].values)
    stats = cache.stats()
    for label in ("sigma", "channel"):
        np.testing.assert_array_equal(found[label], stats[label].values)
    for name in ("mean", "mean_abs", "std", "abs_max"):
        np.testing.assert_array_equal(found[name], stats[name].values)


def test_xarray_refuses_only_the_groups_that_the_page_says(read) -> None:
    assert read[1]["refused"].tolist() == ["image/block_output", "text/block_output", "trajectory"]


def test_bfloat16_is_read_bit_for_bit(read) -> None:
    cache, found = open_cache(read[0]), read[1]
    np.testing.assert_array_equal(found["hidden"], cache.hidden().values.astype(np.float32))
    np.testing.assert_array_equal(found["part"], cache.hidden("text").values.astype(np.float32)[0, 1])
    assert np.isfinite(found["hidden"]).all()


def test_a_reader_is_ten_lines() -> None:
    reader = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    assert len([line for line in reader.splitlines() if line.strip()]) <= 12
