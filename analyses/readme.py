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
from ditscope.studies.claim_report import interval_words, power_words
from ditscope.studies.cost import OPERATIONS_PER_SECOND, cost

HERE = Path(__file__).parent
REAL, REAL_STEPS, REAL_BATCH = "black-forest-labs/FLUX.1-dev", 28, 4

SEEN = {
    "all": "Every script had run before, by a first design, with 40 prompts (16: 80), whatever its pilot asked for; "
    "its verdict stays beside the new one, and its tables in `results/*/first_design/`. A reading after these runs "
    "found the doubts that follow. The designs were then written anew, knowing all first results, and committed "
    "before they ran on other prompts. Limits of prompts, and numbers of edits, are what an hour on two "
    "cores allows. While 01 ran, it was settled that an interval that ends on a threshold decides nothing; it had been "
    "counted as beyond it.",
    "01, 03, 14": "Random channels could be massive ones; now none is. The smallest effects of interest are new.",
    "02": "The first rule took a change of detail in either direction, where its sentence says loss; the block was the "
    "one of most change, and is now the one of most loss. Its matched control changed 122 % of what it was to match in "
    "the mean over images; the median is looked at now.",
    "03": "Two figures of the first validity were ratios of shares of energies in runs of their own. One is now read "
    "from recordings of unedited images; the other, equal by construction, is gone.",
    "04, 05, 07, 08, 09": "The same designs as before, on other prompts; where a pilot can ask for more, on more.",
    "06, 16": "Random channels could be massive ones; now none is.",
    "10": "The first rule asked whether the gate stands out more than what it gates, and not whether it stands out; "
    "and a block of two gated parts counted twice.",
    "11": "The first matched control reached 43 % of what it was to match. On ten prompts of the first design "
    "all massive channels were transported at one block, where the control reached 90 % in the median; the effects "
    "were seen. That the three largest can be matched was tried on four further prompts, in two steps.",
    "12": "The shuffled branch was shown, and not in the rule.",
    "13": "Channels were ranked at a block's output and left out of its input, random ones could be massive, and the "
    "block that is best for modulated features was the only one.",
    "15": "The fixed set was ranked by the mean magnitude and each image's by the largest value, so that the two "
    "differed where nothing moved.",
    "17": "Other samples of a prompt were among those that its sets are compared with, where there are several seeds.",
}
"""What had been seen, and what was changed, before a claim's run, by its numbers."""


DOUBTS = {
    "all": "Smallest effects of interest were set after the first results were known. A pilot of 10 prompts (16: 24) "
    "knows a spread only roughly, and so the number of prompts. `shapes` is trained on few scenes, and k, blocks and "
    "steps are one choice each.",
    "01, 03, 04, 14": "One block decides, the one in the middle.",
    "02": "The block is the one of four that loses most detail, which favours the claim; at another, which the first "
    "design chose as the one of most change, detail rose.",
    "02, 12": "Octaves of a small share have heavy tails, which a t power calculation does not know.",
    "02, 07, 09, 12": "Intervals of what has limits, as a share has, are wider than those of the power calculation.",
    "02, 11": "A control of few channels matches in the median; of single images it can be far off.",
    "11": "What is matched is one block, where massive channels move little; the wider scope has no such control.",
    "12": "Weight and block are ours, as the paper says neither.",
    "13": "Pairs are drawn scenes, not photographs; the paper averages 8 draws of noise, here it is one.",
    "17": "One other model, embedded too, and trained on the same scenes.",
}
"""What a reader may still doubt in the designs, by numbers."""


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
        "| | claim | source | on shapes | what decided | by the first design |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(name, claim) for name, claim in every.items()),
        "",
        "## What the method found where the truth is known",
        "",
        *(line for name in every for line in _validity(name)),
        "",
        "## What had been seen before",
        "",
        "No rule was changed after its run on the same prompts. What was known, or changed, before one:",
        "",
        *(f"* {numbers}: {words}" for numbers, words in SEEN.items()),
        "",
        "## What so many prompts can find",
        "",
        "A pilot on the choosing prompts says how many prompts it takes to find the smallest effect of interest of "
        "each quantity, beyond a threshold of the rule, in 80 % of studies. Where it asks for more than the design's "
        "limit:",
        "",
        *(line for name in every for line in _power(name)),
        "",
        "## What is doubtful in the designs",
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
    kept, first = _kept(name), _kept(f"{name}/first_design")
    linked = f"[{name[:2]}]({name}.py)"
    before = first and f"[{first['verdict']}](results/{name}/first_design/verdict.png)"
    if kept is None:
        return f"| {linked} | {claim.claim} | {claim.source} | not run yet | | {before or ''} |"
    decided = "<br>".join(f"{each['words']}: {interval_words(each)}" for each in kept["quantities"])
    verdict = f"[{kept['verdict']}](results/{name}/verdict.png), {kept['prompts_tested']} prompts"
    return f"| {linked} | {claim.claim} | {claim.source} | {verdict} | {decided} | {before or ''} |"


def _power(name: str) -> list[str]:
    kept = _kept(name)
    bound = kept is not None and kept["prompts_needed"] > kept["prompts_tested"]
    return [f"* {name[:2]}: {power_words(kept)}"] if kept and bound else []


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
