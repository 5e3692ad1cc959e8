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
    ("layerwise casting (`enable_layerwise_casting`)", "works; every claim of the check is tested on CPU"),
    (
        "model or sequential CPU offload, group offload",
        "not refused; needs a GPU to try: run `ditscope check`",
    ),
    ("8- and 4-bit weights", "not refused; needs a GPU to try: run `ditscope check`"),
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
        "The real checkpoints were not at hand: run `ditscope check NAME` on them.",
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
