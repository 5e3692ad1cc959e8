"""Step, sigma, timestep and branch of every visit, against what the bare pipeline lets a hook hear."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_hooks
import plain_visits
import pytest
import tiny
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import ditscope as ds
from ditscope.errors import ConfigMismatchError, UnsupportedError
from ditscope.models.visits import Visit
from ditscope.tracing.run import run_traced

PROMPTS = tiny.PROMPTS
SIGMAS = [1.0, 0.71, 0.33, 0.12]
TIMESTEPS = [950, 610, 300, 20]


def labelled(dit, prompts: list[str], **call: Any) -> list[tuple[Visit, int]]:
    """Every visit of a traced run, with the number of its rows."""
    found = []
    generator = torch.Generator().manual_seed(0)
    with dit.generate(prompts, generator=generator, output_type="latent", **call) as tracer:
        for visit in dit.visits(tracer):
            found.append((visit, len(dit.run_state.inputs["hidden_states"])))
    return found


def branch_of(visit: Visit, row: int, rows: int) -> str:
    (branch,) = [b for b in visit.branches if row in range(rows)[visit.slice(rows, b)]]
    return branch


def owners_where_labels_hold(found, heard: plain_visits.Heard, texts: dict[str, torch.Tensor]) -> list[str]:
    """Compare every label with what was heard; whose each row of each visit is."""
    assert [visit.index for visit, _ in found] == list(range(len(heard.visits)))
    owners = []
    for (visit, rows), plain in zip(found, heard.visits, strict=True):
        tick = heard.tick(plain)
        assert (visit.step, visit.sigma) == (tick.step, pytest.approx(tick.sigma, rel=1e-5))
        assert plain.timesteps == pytest.approx([visit.timestep] * rows, rel=1e-6)
        own = [plain_visits.whose(text, texts) for text in plain.text]
        branches = ["uncond" if owner == "negative" else "cond" for owner in own]
        assert [branch_of(visit, row, rows) for row in range(rows)] == branches
        owners += own
    return owners


@pytest.mark.parametrize(("n_prompts", "n_images"), [(1, 1), (2, 2)], ids=["one", "2x2"])
@pytest.mark.parametrize(("name", "guidance"), plain_visits.CASES)
def test_every_row_is_of_the_step_and_branch_that_its_label_says(
    opened, folder_of, name, guidance, n_prompts, n_images
) -> None:
    steps, prompts = 2, PROMPTS[:n_prompts]
    call = {
        **plain_visits.CALLS[name][guidance],
        "num_inference_steps": steps,
        "num_images_per_prompt": n_images,
    }
    heard = plain_visits.hear(plain_hooks.opened(folder_of(name)), name, prompts, **call)
    found = labelled(opened(name), prompts, **plain_visits.size(name), **call)
    owners = owners_where_labels_hold(found, heard, plain_visits.own_texts(folder_of(name), name))
    # Every image is there in every branch of every step; a prompt's images are neighbours.
    images = [prompt for prompt in prompts for _ in range(n_images)]
    assert [owner for owner in owners if owner != "negative"] == images * steps
    assert owners.count("negative") == (len(images) * steps if guidance == "guided" else 0)


OWN_SCHEDULES = [
    *[
        (name, guidance, {"sigmas": SIGMAS})
        for name, guidance in plain_visits.CASES
        if name not in ("sana", "pixart-sigma")
    ],
    *[("sana", guidance, {"sigmas": SIGMAS}) for guidance in ("plain", "guided")],
    *[("sana", guidance, {"timesteps": TIMESTEPS}) for guidance in ("plain", "guided")],
    *[("pixart-sigma", guidance, {"timesteps": TIMESTEPS}) for guidance in ("plain", "guided")],
]


@pytest.mark.parametrize(("name", "guidance", "given"), OWN_SCHEDULES)
def test_steps_of_the_callers_own_are_labelled_as_they_are_run(
    opened, folder_of, monkeypatch, name, guidance, given
) -> None:
    dit, pipeline = opened(name), plain_hooks.opened(folder_of(name))
    if name == "sana":  # its own sampler makes its steps by itself
        for owner in (dit.diffusers_pipeline, pipeline):
            monkeypatch.setattr(owner, "scheduler", FlowMatchEulerDiscreteScheduler(shift=3.0))
    call = {**plain_visits.CALLS[name][guidance], **given}
    heard = plain_visits.hear(pipeline, name, PROMPTS[:1], **call)
    assert [tick.step for tick in heard.ticks] == [0, 1, 2, 3]
    found = labelled(dit, PROMPTS[:1], **plain_visits.size(name), **call)
    owners = owners_where_labels_hold(found, heard, plain_visits.own_texts(folder_of(name), name))
    assert owners.count("negative") == (4 if guidance == "guided" else 0)


@pytest.mark.parametrize("guidance", ["plain", "guided"])
@pytest.mark.parametrize(("strength", "steps"), [(0.5, [2, 3]), (0.6, [1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_image_to_image_runs_the_last_of_the_callers_own_steps(
    image_to_image, folder_of, guidance, strength, steps
) -> None:
    call = {
        **plain_visits.CALLS["flux"][guidance],
        "sigmas": SIGMAS,
        "strength": strength,
        "image": torch.linspace(0, 1, 3 * 16 * 24).reshape(1, 3, 16, 24),
    }
    heard = plain_visits.hear(plain_hooks.opened(image_to_image.name), "flux", PROMPTS[:1], **call)
    assert [tick.step for tick in heard.ticks] == steps
    found = labelled(
        image_to_image, PROMPTS[:1], **tiny.TINY["flux"].call, **plain_visits.size("flux"), **call
    )
    owners_where_labels_hold(found, heard, plain_visits.own_texts(folder_of("flux"), "flux"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("sana", {"sigmas": SIGMAS}),
        ("sana", {"timesteps": TIMESTEPS}),
        ("pixart-sigma", {"sigmas": SIGMAS}),
    ],
)
def test_a_sampler_that_makes_its_own_steps_refuses_others_before_anything_is_written(
    opened, tmp_path, name, given
) -> None:
    (argument,) = given
    message = f"found {argument}= with scheduler DPMSolverMultistepScheduler.*Leave {argument}= out"
    with (
        pytest.raises(UnsupportedError, match=message),
        ds.record(opened(name), tmp_path / "a.zarr") as rec,
    ):
        rec.generate(PROMPTS[0], 0, **plain_visits.size(name), **given)
    assert not (tmp_path / "a.zarr").exists()


def test_a_sigma_may_come_twice_but_where_diffusers_would_skip_a_step(opened, folder_of) -> None:
    """FLUX.1 says where to begin; SD3 looks its first timestep up, and would begin at the second."""
    call = {"sigmas": [1.0, 1.0, 0.5, 0.5]}
    heard = plain_visits.hear(plain_hooks.opened(folder_of("flux")), "flux", PROMPTS[:1], **call)
    found = labelled(opened("flux"), PROMPTS[:1], **plain_visits.size("flux"), **call)
    owners_where_labels_hold(found, heard, plain_visits.own_texts(folder_of("flux"), "flux"))
    with pytest.raises(UnsupportedError, match="found timestep 1000 first and once more"):
        run_traced(opened("sd3"), [(PROMPTS[0], 0)], **plain_visits.size("sd3"), **call)


def test_own_sigmas_are_in_the_manifest_and_decide_whether_a_recording_goes_on(opened, tmp_path) -> None:
    dit, size = opened("flux"), plain_visits.size("flux")

    def record(sigmas: Any) -> Any:
        with ds.record(dit, tmp_path / "a.zarr", blocks=[0]) as rec:
            return rec.generate(PROMPTS[0], 0, sigmas=sigmas, **size)

    cache = record(SIGMAS)
    assert cache.manifest["config"]["call"]["sigmas"] == SIGMAS
    pipeline_steps = dit.diffusers_pipeline.scheduler.sigmas[:4].tolist()
    assert cache.hidden()["sigma"].values.tolist() == pytest.approx(pipeline_steps)
    for same in (np.array(SIGMAS), tuple(SIGMAS), list(np.array(SIGMAS))):
        assert record(same).manifest["config_hash"] == cache.manifest["config_hash"]
    with pytest.raises(ConfigMismatchError) as error:
        record([1.0, 0.71, 0.34, 0.12])
    assert "config.call.sigmas[2]: found 0.33, expected 0.34" in str(error.value)
    with pytest.raises(ConfigMismatchError, match=r"config\.call\.sigmas: found 4 entries"):
        record([1.0, 0.5])
