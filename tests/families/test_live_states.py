"""Every family's live state is one and the same however its pipeline is opened, run and offloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import tiny
import torch
from family_calls import NAMES, call

import ditscope as ds
from ditscope.cache.manifest import differences
from ditscope.models.live_state import live_state
from ditscope.tracing.run import run_traced

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_what_changes_no_number_changes_no_live_state(opened, folder_of, name) -> None:
    ran, offloaded = opened(name), ds.load(str(folder_of(name)))
    fresh = live_state(offloaded)
    offloaded.diffusers_pipeline.enable_group_offload(CPU, CPU, "block_level", num_blocks_per_group=1)
    for dit in (ran, offloaded):
        run_traced(dit, [(tiny.PROMPTS[0], 0)], **{**call(name), "num_inference_steps": 1 + (name == "sana")})
        assert differences(live_state(dit), fresh) == []
    assert len(json.dumps(fresh)) < 30_000  # it is in every manifest


def test_a_live_state_is_equal_in_another_process(opened, folder_of) -> None:
    """Where a recording is resumed; what libraries keep in sets comes in another order there."""
    code = (
        "import json, ditscope as ds; from ditscope.models.live_state import live_state; "
        f"print(json.dumps(live_state(ds.load({str(folder_of('flux2-klein'))!r}))))"
    )
    there = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=there)
    assert differences(json.loads(done.stdout.splitlines()[-1]), live_state(opened("flux2-klein"))) == []
