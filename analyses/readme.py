"""``analyses/README.md``, made from the scripts and from what is kept of their results.

``python analyses/readme.py`` writes it; a test keeps it current.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from ditscope.cache.layout import readable_bytes
from ditscope.errors import InputError
from ditscope.models.configuration import ModelConfiguration, configuration_of
from ditscope.models.families.flux import FLUX
from ditscope.studies.claim import Claim
from ditscope.studies.claim_report import interval_words
from ditscope.studies.cost import OPERATIONS_PER_SECOND, cost

HERE = Path(__file__).parent
REAL, REAL_STEPS, REAL_BATCH = "black-forest-labs/FLUX.1-dev", 28, 4

SEEN = {
    "all": "Steps, choosing prompts and draws were cut for time before any result was seen. The number of prompts is "
    "fixed, at 40 (in 16 at 80): the pilots of 01, 02, 04, 07, 12 and 14 ask for more (141, 203, about 1,650, 157, 637 "
    "and 52).",
    "02": "Detail is measured in octaves since a trial on three prompts showed a heavy tail.",
    "05, 08, 10, 17": "While the figures were made, shares, overlaps and spreads of 6 to 12 other prompts were seen "
    "before the rules were written.",
    "09": "Limits were put on the intervals of a table beside the rule while it ran.",
    "11": "A trial on three prompts, in which the published sign rule put masks on the wrong side, showed sizes of "
    "effects; mask rule and mask block were changed after it. The first design was not run on 40 prompts.",
    "12": "As 02.",
    "16": "It crashed in its pilot before a result was seen; the probe's control was mended before it ran.",
    "14, 15, 16": "Blocks, formats and probes were cut for time, each committed before its run.",
}
"""What had been seen, and what was changed, before a claim's run, by its numbers."""

DOUBTS = {
    "01, 06, 11, 13, 14": "Random channels are drawn from all, so that a set may hold a massive one.",
    "02": "The rule takes a change of detail in either direction; its sentence says loss. Its matched control changed "
    "122 % of what it was to match, in the mean over images.",
    "03": "The two ratios in its validity are of energies in runs of their own, and no ratios of amounts.",
    "10": "The rule asks whether the gate is further above other channels than the output is, not whether it is above "
    "them, and a block of two parts counts twice.",
    "11": "Its matched control fell short, and decides nothing.",
    "12": "The shuffled branch is shown and not in the rule.",
    "13": "Channels are ranked at a block's output and left out of its input; at the chosen block the two sets agree. "
    "Only the block that is best for modulated features is tested.",
    "15": "The fixed set is ranked by the mean magnitude and each image's by the largest, so that the two differ even "
    "where nothing moves: the verdict hangs on that quantity alone.",
    "17": "Other samples of a prompt are among those that its sets are compared with, where there are several seeds.",
}
"""What a reading of the designs after the runs found, by numbers: to be mended before the next run."""


def scripts() -> dict[str, type[Claim]]:
    """Name of a script -> the claim in it, in order."""
    return {path.stem: claim_of(path) for path in sorted(HERE.glob("[0-9][0-9]_*.py"))}


def claim_of(path: Path) -> type[Claim]:
    """The one claim that a script defines."""
    spec = importlib.util.spec_from_file_location(f"analysis_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    (found,) = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Claim) and each.__module__ == module.__name__
    ]
    return found


def real_model() -> ModelConfiguration:
    """FLUX.1-dev by its published configuration, which is the library's default but for the embedded scale."""
    return configuration_of(FLUX, {"guidance_embeds": True}, vae_pixels=8, name=REAL)


def readme() -> str:
    """The page as Markdown."""
    every, real = scripts(), real_model()
    lines = [
        "# Claims of papers, one script each",
        "",
        "Written by `python analyses/readme.py` from the scripts and from `results/`, which `make analyses` renews: "
        "it runs all of them on the embedded pipeline, in order, and goes on where it was broken off. Every script "
        "states claim, design, controls and decision rule as data that were committed before it ran; the rule looks at "
        "prompts on which no choice was made; `results/*/verdict.json` has its numbers. A claim is supported or refuted"
        " where whole intervals, which hold together in 95 % of studies, lie beyond thresholds; else it is undecided.",
        "",
        "**What is found here is a fact about the small embedded pipeline `shapes`, and about no other model.** For "
        "another model, run the script on it: the verdict is open until then.",
        "",
        "| | claim | source | on shapes | what decided |",
        "| --- | --- | --- | --- | --- |",
        *(_row(name, claim) for name, claim in every.items()),
        "",
        "## What the method found where the truth is known",
        "",
        *(line for name in every for line in _validity(name)),
        "",
        "## What had been seen before",
        "",
        "No threshold was changed after a run. What was known, or changed, before one:",
        "",
        *(f"* {numbers}: {words}" for numbers, words in SEEN.items()),
        "",
        "## What is doubtful in the designs",
        "",
        "Found by a reading after the runs; a rule is not changed to fit its result, so these stand until a design is "
        "written anew and run on other prompts:",
        "",
        *(f"* {numbers}: {words}" for numbers, words in DOUBTS.items()),
        "",
        "## On a real checkpoint",
        "",
        f"For {REAL.partition('/')[2]} at 1024 x 1024, {REAL_STEPS} steps, bfloat16. Hours are on one H100, from the "
        f"number of operations at {OPERATIONS_PER_SECOND:.0e} a second; an upper estimate by less than a factor of two "
        "of what an H200 took (`benchmarks/on_a_gpu.md`). Metrics, decoding and loading come on top. Disk is that of "
        "recordings. `--forecast` in place of `--out` says the same for any model; `--prompts FILE` brings prompts.",
        "",
        "| command | GPU hours | disk |",
        "| --- | --- | --- |",
    ]
    lines += [_command(name, claim, real) for name, claim in every.items()]
    return "\n".join(lines) + "\n"


def _command(name: str, claim: type[Claim], real: ModelConfiguration) -> str:
    try:
        study = claim(model=REAL, num_inference_steps=REAL_STEPS)
    except InputError as error:
        return f"| {name[:2]} has none: {error} | | |"
    expected = cost(study.work(), real, REAL_STEPS)
    command = (
        f"python analyses/{name}.py --model {REAL} --dtype bfloat16 --device cuda --set "
        f"num_inference_steps={REAL_STEPS} --set batch_size={REAL_BATCH} --set k=12 --out runs/{name}"
    )
    return f"| `{command}` | {expected.gpu_hours:.2g} | {readable_bytes(expected.disk_bytes)} |"


def _row(name: str, claim: type[Claim]) -> str:
    kept = _kept(name)
    linked = f"[{name[:2]}]({name}.py)"
    if kept is None:
        return f"| {linked} | {claim.claim} | {claim.source} | not run | |"
    decided = "<br>".join(f"{each['words']}: {interval_words(each)}" for each in kept["quantities"])
    verdict = f"[{kept['verdict']}](results/{name}/verdict.png), {kept['prompts_tested']} prompts"
    return f"| {linked} | {claim.claim} | {claim.source} | {verdict} | {decided} |"


def _validity(name: str) -> list[str]:
    kept = _kept(name)
    said = {True: "trusted", False: "**not trusted**", None: "cannot be told"}
    return [
        f"* {name[:2]}: {each['statement']} ({said[each['trusted']]})"
        for each in (kept or {}).get("validity", [])
    ]


def _kept(name: str) -> dict | None:
    path = HERE / "results" / name / "verdict.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


if __name__ == "__main__":
    (HERE / "README.md").write_text(readme(), encoding="utf-8")
