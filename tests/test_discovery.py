"""What a package finds by itself, what others add, and what happens when they add nonsense."""

from __future__ import annotations

import pytest

import distribution
import ditscope as ds
from ditscope._discovery import public_names, stub


def test_modules_offer_what_they_list() -> None:
    names = public_names("ditscope.metrics")
    assert {"psnr", "ssim", "ssim_luminance", "Metric", "ClipScorer"} <= set(names)
    assert "as_unit" not in names  # of a module that is the package's own affair
    assert names["psnr"] is ds.metrics.psnr


MODULES = {
    "good": "from ditscope.metrics.metric import metric\n\n"
    "@metric('mean red')\ndef redness(images):\n    return images[..., 0].mean((1, 2))\n",
    "broken": "import a_library_that_nobody_has\n",
}
ENTRIES = {
    "ditscope.metrics redness": "good:redness",
    "ditscope.metrics broken": "broken:thing",
    "ditscope.metrics psnr": "good:redness",
}


@pytest.mark.parametrize(
    "first", ["ditscope", "plugin.good"]
)  # the plugin's own tests import the plugin first
def test_a_good_entry_is_there_whatever_is_imported_first_and_a_bad_one_warns(tmp_path, first) -> None:
    distribution.install(tmp_path, MODULES, ENTRIES)
    code = f"""
import {first}, plugin.good
import ditscope as ds
assert ds.metrics.redness is plugin.good.redness
assert ds.metrics.METRICS["redness"].label == "mean red"
assert ds.metrics.psnr.__module__ == "ditscope.metrics.psnr"
assert not hasattr(ds.metrics, "broken")
"""
    done = distribution.run_beside(tmp_path, "-W", "always::UserWarning", "-c", code)
    assert done.returncode == 0, done.stderr
    assert "leaves out broken" in done.stderr
    assert "a_library_that_nobody_has" in done.stderr
    assert "ditscope.metrics has a psnr already" in done.stderr
    assert done.stderr.count("UserWarning") == 2


def test_a_stub_has_what_a_package_defines_itself() -> None:
    text = stub("ditscope.models.families")
    assert "from ditscope.models.family import Family\n" in text
    assert "def known_families() -> tuple[Family, ...]:" in text
    assert "def supported() -> str:\n    ..." in text
