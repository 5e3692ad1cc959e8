"""What a fresh Python process says when a pipeline is opened: nothing."""

from __future__ import annotations

import os
import subprocess
import sys

LOAD = (
    "import ditscope as ds; ds.load('shapes', dtype='bfloat16'); from transformers import CLIPImageProcessor"
)


def test_opening_a_pipeline_says_nothing() -> None:
    # torchao, which some tests need, has warnings of its own.
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if "quantizers" not in path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-W", "default::FutureWarning", "-c", LOAD],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("", "")
