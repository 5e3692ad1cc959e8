"""What a call will generate is known before it runs."""

from __future__ import annotations

import pytest
from pipeline_recording import GUIDED, PROMPTS

from ditscope.errors import InputError
from ditscope.recording.plan import plan_of
from ditscope.recording.selection import Selection


@pytest.fixture(scope="module")
def plan(dit):
    return plan_of(dit, Selection.of(dit, steps=[-1]), PROMPTS, [3, 8], dict(GUIDED), batch_size=3)


def test_samples_are_prompts_by_seeds_in_batches(plan) -> None:
    assert plan.samples == [(prompt, seed) for prompt in PROMPTS for seed in (3, 8)]
    assert [list(batch.positions) for batch in plan.batches] == [[0, 1, 2], [3]]
    assert plan.prompts == PROMPTS
    assert [(spec.prompt, spec.seed) for spec in plan.specs({})] == plan.samples


def test_columns_are_of_prompts_or_of_samples(plan) -> None:
    specs = plan.specs({"kind": ["x", "y"], "number": range(4)})
    assert [dict(spec.columns) for spec in specs] == [
        {"kind": kind, "number": number} for number, kind in enumerate("xxyy")
    ]
    with pytest.raises(InputError, match="column 'kind' with 3 values for 4 samples"):
        plan.specs({"kind": ["x", "y", "z"]})


def test_the_schema_is_of_the_probed_call(dit, plan) -> None:
    schema = plan.schema(dit, stats=False)
    assert [step.index for step in schema.steps] == [1]
    assert schema.branches == ("cond", "uncond")
    assert not schema.stats
    assert schema.stream("image").tokens == plan.probed.tokens["image"] == 32
