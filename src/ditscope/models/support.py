"""The table of supported models, made from the families' descriptions.

``python -m ditscope.models.support README.md`` writes it between its marks; a test keeps it current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ditscope.models.families import FAMILIES
from ditscope.models.family import Family, Guidance
from ditscope.models.sites import ENDS, EVERY_SITE
from ditscope.models.versions import VERIFIED

BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"

WAYS = (
    ("layerwise casting (`enable_layerwise_casting`)", "works; tested"),
    ("model CPU offload (`enable_model_cpu_offload`)", "works; tested"),
    (
        "sequential CPU offload (`enable_sequential_cpu_offload`), accelerate's `disk_offload`",
        "works; tested with the hooks of accelerate that they set",
    ),
    (
        "group offload by block or leaf, in memory, or of the transformer to disk in an empty folder",
        "works; tested",
    ),
    ("group offload with `use_stream=True`", "not refused; not tried: diffusers has it on a GPU only"),
    (
        "group offload to disk where diffusers mixes up weights (two networks in one folder, tied weights)",
        "refused by name",
    ),
    (
        "offload set before the model is opened",
        "works; tested; refused by name where modulation adds a parameter of an offloaded block",
    ),
    (
        "8- and 4-bit weights of torchao",
        "works, offloaded too; tested with torchao 0.18.0 (int8, int4 in groups)",
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
    ("skip-layer guidance", "refused by name"),
    ("schedulers of higher order, or without a step index", "refused by name"),
    ("several runs on one model at once", "refused by name"),
)
"""Ways of running a pipeline, and what is known of each."""


def support_table() -> str:
    """The table as Markdown."""
    lines = [
        "| family | pipelines | blocks and streams | guidance | sites inside blocks | checkpoints |",
        "|---|---|---|---|---|---|",
        *(_row(family) for family in FAMILIES),
        "",
        "Every family has `block_input` and `block_output`. For each, the tests build a tiny pipeline of random",
        "weights from the real classes and run every claim of the check, a recording against plain hooks, an edit",
        "and a resume, in float32 and bfloat16, square and not, on CPU, with "
        + ", ".join(f"{name} {version}" for name, version in VERIFIED.items())
        + ".",
        "The real checkpoints were not at hand: run `ditscope check NAME` on them. At full size, with random weights,",
        "the check is in [`benchmarks/full_size.md`](benchmarks/full_size.md).",
        "",
        "Tested means: on CPU, every claim of the check, and a recording and an edit against plain hooks. Offloading",
        "is tested with the CPU as the device that computes, too: hooks, and places without values, are the same.",
        "Only a GPU can show that tensors of two devices meet nowhere, what memory it takes, and streams: run",
        "`ditscope check` there.",
        "",
        "| way of running | |",
        "|---|---|",
        *(f"| {way} | {known} |" for way, known in WAYS),
    ]
    return "\n".join(lines)


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
    return f"| {family.name} | {pipelines} | {blocks} | {_guidance(family.guidance)} | {sites} | {examples} |"


def _inner(taps) -> list[str]:
    inner = [site for site in EVERY_SITE if site not in ENDS]
    return [site for site in inner if any(site in places for places in taps.values())]


def _guidance(guidance: Guidance) -> str:
    if guidance.scale is None:
        return "none or embedded"
    order = ", ".join(guidance.branches)
    if guidance.doubled:
        return f"one doubled batch `[{order}]`, by `{guidance.scale}`"
    return f"none or embedded; or visits {order}, by `{guidance.scale}`"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(updated(target.read_text()))
