"""What importing the passes costs, and what they offer."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_passes_imports_no_model():
    code = (
        "import sys, ditscope.passes as passes\n"
        "assert passes.stability is sys.modules['ditscope.passes.stability'].stability\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'nnsight', 'zarr', 'matplotlib', 'ditscope.models'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
