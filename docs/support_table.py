"""The table of supported models, made from the families' descriptions.

``python docs/support_table.py`` writes it into ``docs/models.md``, between its marks; a test keeps it current.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tested_changes

from ditscope.models.families import known_families
from ditscope.models.family import Family, Guidance
from ditscope.models.hook_points import Tap
from ditscope.models.versions import VERIFIED
from ditscope.vocabulary import SITES

BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
PAGE = Path(__file__).parent / "models.md"

TESTED: Mapping[str, Mapping[str, str]] = {
    "AuraFlow": {"auraflow": "joint and single blocks, registers"},
    "FLUX.1": {
        "flux": "without an embedded scale",
        "flux-embedded": "with one",
        "flux-img2img": "image-to-image",
    },
    "Chroma": {"chroma": "guided and not"},
    "CogView4": {"cogview4": "guided and not"},
    "FLUX.2 klein": {"flux2-klein-base": "base", "flux2-klein": "distilled"},
    "FLUX.2 dev": {"flux2-dev": "with an embedded scale"},
    "Lumina2": {"lumina2": "guided and not; prompts of one length in a batch"},
    "PixArt-Sigma": {"pixart-sigma": "without size conditions"},
    "Qwen-Image": {"qwen-image": "without an embedded scale"},
    "SANA": {"sana": "without normed queries and keys"},
    "SD3": {"sd3": "SD3", "sd3.5-medium": "SD3.5-medium's second attention, normed queries and keys"},
}
"""Family, in the order of the table -> tiny pipeline of the tests -> which variant of the family it is."""

TESTED_IN_PART: Mapping[str, str] = {
    "FluxKontextPipeline": "with and without a reference image; check, recording and edit, in float32, not square, "
    "without a resume",
}
"""Pipeline class -> how it is tested, where that is less than all."""

OTHER_PIPELINES: tuple[str, ...] = (
    *("FluxInpaintPipeline", "FluxFillPipeline", "FluxKontextInpaintPipeline"),
    *("FluxControlPipeline", "FluxControlImg2ImgPipeline", "FluxControlInpaintPipeline"),
    *("FluxControlNetPipeline", "FluxControlNetImg2ImgPipeline", "FluxControlNetInpaintPipeline"),
    *("Flux2KleinInpaintPipeline", "ChromaImg2ImgPipeline"),
    *("StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    "StableDiffusion3PAGPipeline",
    *("QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline"),
    *("QwenImageEditPipeline", "QwenImageEditPlusPipeline", "QwenImageControlNetPipeline"),
    *("SanaPAGPipeline", "SanaControlNetPipeline"),
)
"""Pipeline classes of which the tests open a tiny one in memory, check it, record its last block and give it back."""

TESTED_IN_OTHER_WAYS: tuple[str, ...] = ("FLUX.1", "SANA")
"""Families on which the tests run offloaded, cast and quantized pipelines."""

IN_OTHER_WAYS: tuple[str, ...] = ("flux", "sana")
"""The tiny pipelines of these families that are."""

TORCHAO = "0.18.0"
"""Version of torchao that the tests run with."""

SIGNS: Mapping[str, str] = {"equal": "=", "refused": "r", "absent": "·"}
"""What came out of a change, as it is drawn."""

_ON = " and ".join(TESTED_IN_OTHER_WAYS)
_BELOW = "every tiny pipeline (below)"

WAYS = (
    ("layerwise casting (`enable_layerwise_casting`)", f"works; tested on {_BELOW}"),
    ("model CPU offload (`enable_model_cpu_offload`)", f"works; tested on {_BELOW}"),
    (
        "sequential CPU offload (`enable_sequential_cpu_offload`), accelerate's `disk_offload`",
        f"works; tested with the hooks of accelerate that they set, the first on {_BELOW}, the second on {_ON}",
    ),
    (
        "group offload by block or leaf, in memory, or of the transformer to disk in an empty folder",
        f"works; tested by leaf in memory on {_BELOW}, the others on {_ON}",
    ),
    ("group offload with `use_stream=True`", "not refused; not tried: diffusers has it on a GPU only"),
    (
        "group offload to disk where diffusers mixes up weights (two networks in one folder, tied weights)",
        "refused by name",
    ),
    (
        "offload set before the model is opened",
        f"works; tested on {_ON}",
    ),
    (
        "8- and 4-bit weights of torchao",
        f"works; tested with torchao {TORCHAO}, int8 on {_BELOW}, int4 in groups on {_ON}, int8 offloaded on FLUX.1",
    ),
    (
        "8- and 4-bit weights of optimum-quanto",
        "works; tested if it is installed, last with 0.2.7 on FLUX.1 (int8, int4); "
        "on CPU its int8 product fails by itself on SANA in bfloat16",
    ),
    (
        "8- and 4-bit weights of bitsandbytes",
        "not refused; diffusers loads them on a GPU only; with its layers put in by hand (0.50.2: int8, nf4, fp4) "
        "the check held and a recording was made on CPU",
    ),
    ("GGUF, ModelOpt", "not refused; not tried"),
    ("`torch.compile`", "refused by name"),
    ("step caching (diffusers' caches, TeaCache, cache-dit)", "refused by name"),
    ("skip-layer guidance, perturbed-attention guidance (`pag_scale` other than 0)", "refused by name"),
    ("schedulers of higher order, or without a step index", "refused by name"),
    ("several runs on one model at once", "refused by name"),
    (
        "LoRAs by peft and diffusers' loaders",
        f"followed; tested on {_BELOW}; on FLUX.1 also two at once, deleted, unfused",
    ),
    (
        "LoRAs that come or go while group offload keeps weights on disk",
        "refused by name; tested on FLUX.1",
    ),
    (
        "modules replaced after the model was opened (wrapped, exchanged; blocks and the transformer by others of "
        "their class)",
        f"followed; tested at every module that is read, on {_BELOW}",
    ),
    ("attention processors or the scheduler exchanged", f"followed; tested on {_BELOW}"),
    ("blocks of another class, a forward of one's own put on a module that is read", "refused by name"),
    (
        "torch's forward hooks on the transformer, a block or a module that is read; nnsight's persistent edits "
        "(`dit.edit`)",
        "refused by name where visits are read",
    ),
    ("modules that a callback replaces on the way", "refused by name when the run is over"),
    ("guidance that a callback switches off on the way", "refused by name; tested on SD3"),
    (
        "noise that no seed decides: torch's global generator drawn from before or in the steps (by a scheduler, a "
        "callback, a hook; for a control picture, as `StableDiffusion3ControlNetPipeline`, "
        "`StableDiffusion3ControlNetInpaintingPipeline` and `CogView4ControlPipeline` do it), dropout at work",
        "refused by name in recordings, comparisons and checks",
    ),
    (
        "`ds.PromptEmbeds`: embeddings in the place of a prompt",
        "works; tested on FLUX.1, SD3, Qwen-Image and SANA",
    ),
    (
        "IP-Adapters, by image and by embeddings, the same for all samples",
        "works; tested on FLUX.1 and SD3, with one adapter",
    ),
    (
        '`latents=` for each sample, callbacks that change latents, `output_type="latent"` in a recording',
        "works; tested on FLUX.1",
    ),
    ("a run that a callback interrupts (`pipeline._interrupt`)", "refused by name"),
    (
        "generators, in the place of seeds, in recordings and comparisons",
        "work, in the state that they are in; tested on FLUX.1 against the pipeline's own `generator=`",
    ),
    (
        "`num_images_per_prompt` and `generator=` in recordings and comparisons",
        "refused by name: pass as many seeds or generators as `seeds=`, with the same images",
    ),
    (
        "tensors, arrays and pictures as call arguments",
        "kept whole: tensors of at most 1 MiB that all samples share, and such embeddings of prompts; all others "
        "by digest: to run a recording again, bring them",
    ),
    ("`prompt_embeds` beside a prompt", "refused by name"),
)
"""Ways of running a pipeline, and what is known of each."""


def support_table() -> str:
    """The table as Markdown."""
    lines = [
        "| family | pipelines | tested as | blocks and streams | guidance | sites inside blocks | checkpoints |",
        "|---|---|---|---|---|---|---|",
        *(_row(family) for name in TESTED for family in known_families() if family.name == name),
        "",
        "Every family has `block_input` and `block_output`. For each pipeline and each variant under `tested as`, the",
        "tests build a tiny pipeline of random weights from the real classes and run every claim of the check, and a",
        "recording of blocks' outputs and an edit against plain hooks, in float32 (not square) and bfloat16 (square),",
        "on CPU, with "
        + ", ".join(f"{name} {version}" for name, version in VERIFIED.items())
        + ". A resume is tested for each layout of guidance.",
        "Less is tested of " + "; ".join(f"`{name}` ({how})" for name, how in TESTED_IN_PART.items()) + ";",
        f"and of {', '.join(f'`{name}`' for name in OTHER_PIPELINES)}",
        "(opened in memory; check, a recording of the last block's image stream and of the trajectory, closed; in",
        "float32, not square, without a resume). A pipeline of another class whose transformer is one of these opens",
        "too: run `dit.check()` with its call. Refused by name: "
        + "; ".join(
            dict.fromkeys(
                f"`{name}` ({why})" for family in known_families() for name, why in family.refused.items()
            )
        )
        + ".",
        "The real checkpoints were not at hand: run `ditscope check NAME` on them. At full size, with random weights,",
        "the check is in [`benchmarks/full_size.md`](../benchmarks/full_size.md).",
        "",
        "De-distilled FLUX.1 checkpoints, such as flux-dev-de-distill, are guided by `true_cfg_scale`",
        "and a negative prompt, in two visits a step. They were not at hand either; the tiny FLUX.1 without an",
        "embedded scale is guided so.",
        "",
        "Tested means: on CPU, every claim of the check, and a recording and an edit against plain hooks. Offloading",
        "is tested with the CPU as the device that computes, too: hooks, and places without values, are the same.",
        "Only a GPU can show that tensors of two devices meet nowhere, what memory it takes, and streams: run",
        "`ditscope check` there. On other families than those named, these ways were not tried.",
        "",
        "| way of running | |",
        "|---|---|",
        *(f"| {way} | {known} |" for way, known in WAYS),
        "",
        "What came out of the tests of changes to each tiny pipeline that is open and has run, made by `make matrix`:",
        "recording, edit, and resume of a recording that was begun before the change. = is what plain hooks see, bit",
        "for bit, at all that is read; r is refused by the name of what differs, with no file touched; · is what",
        "diffusers does not have. Offloading changes no number, so that a recording goes on. The other scheduler is",
        "`UniPCMultistepScheduler`; `EulerDiscreteScheduler` for PixArt-Sigma; one of a user's own for CogView4, to",
        "which diffusers has no other.",
        "",
        *_matrix(),
    ]
    return "\n".join(lines)


def _matrix() -> list[str]:
    """Tiny pipelines by changes, as the tests found them; a test that did not pass has left no cell."""
    found = tested_changes.kept()
    changes = list(dict.fromkeys(change for row in found.values() for change in row))
    lines = [f"| tiny pipeline | {' | '.join(changes)} |", f"|---|{'---|' * len(changes)}"]
    for name in (name for variants in TESTED.values() for name in variants if name in found):
        cells = (found[name].get(change) for change in changes)
        drawn = (" ".join(SIGNS[part] for part in cell.values()) if cell else "failed" for cell in cells)
        lines.append(f"| {name} | {' | '.join(drawn)} |")
    return lines


def updated(page: str) -> str:
    """A page with the table renewed between its marks."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{support_table()}\n{END}{after}"


def _row(family: Family) -> str:
    blocks = "; ".join(
        f"{layout.kind}: {' and '.join(sorted(layout.outputs))}"
        + (f" (the last returns no {', '.join(layout.dropped)})" if layout.dropped else "")
        for layout in family.block_lists
    )
    sites = "; ".join(
        f"{layout.kind}: {', '.join(f'`{site}`' for site in _inner(layout.taps))}"
        for layout in family.block_lists
    )
    pipelines = ", ".join(f"`{pipeline}`" for pipeline in family.pipelines)
    examples = ", ".join(example.split("/")[1] for example in family.examples)
    tested = "; ".join(TESTED[family.name].values())
    entries = (family.name, pipelines, tested, blocks, _guidance(family.guidance), sites, examples)
    return f"| {' | '.join(entries)} |"


def _inner(taps: Mapping[str, Mapping[str, Tap]]) -> list[str]:
    inside = (name for name, site in SITES.items() if site.inside)
    return [site for site in inside if any(site in of_stream for of_stream in taps.values())]


def _guidance(guidance: Guidance) -> str:
    alone = "none or embedded" if guidance.embedded else "none"
    if guidance.scale is None:
        return "embedded" if guidance.embedded else alone
    order = ", ".join(guidance.branches)
    way = f"one doubled batch `[{order}]`" if guidance.doubled else f"visits {order}"
    return f"{alone}; or {way}, by `{guidance.scale}`"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
