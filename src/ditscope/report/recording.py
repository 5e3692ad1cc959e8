"""The report of a recording: what is in it, which channels lead, and the explorer on a part of it.

Nothing is run, and no hidden states are read but those of one place and those that the explorer has inside: rankings
follow from the recorded statistics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ditscope import plots
from ditscope.cache.schema import StoredSite
from ditscope.passes.rank_channels import rank_channels
from ditscope.report.explorer import add_store
from ditscope.report.page import Report, Section, folder_of_page, made_with

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache

_SHOWN_IMAGES, _K = 16, 6


def write_report(cache: Cache, folder: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a recording; by default into a folder beside it that is named like it, with ``-report``.

    Raises:
        InputError: ``folder`` is a file.
    """
    target = folder_of_page(beside(cache.path) if folder is None else folder)
    return recording_report(cache, target).write(target)


def beside(store: Path) -> Path:
    """The folder of a store's report."""
    return store.with_name(f"{store.stem}-report")


def recording_report(cache: Cache, folder: Path) -> Report:
    """The report of a recording.

    Args:
        cache: the recording.
        folder: where it will be written, from where the store is linked.
    """
    config, model = cache.config, str(cache.config.get("model", "a model that is not named"))
    report = Report(
        f"Recording of {model}",
        f"{len(cache.committed)} images and the hidden states behind them, in `{cache.path.name}`.",
        opening=f"import ditscope as ds\ncache = ds.open_cache({str(cache.path)!r})",
    )
    about = {"model": model, "samples": len(cache.committed)}
    _recorded(report.section("What was recorded"), cache, about)
    for site in _ranked(cache):
        _channels(report.section(f"Channels of the {site.stream} stream"), cache, site, about)
    if cache.committed:
        add_store(report, cache, cache.path)
    environment = cache.manifest["environment"]
    specs = [cache.specs[sample] for sample in cache.committed]
    report.provenance(
        {
            "model": model,
            "revision": config.get("revision") or "none: not from a hub",
            "family": config.get("family", ""),
            "recorded": environment.get("created", ""),
            "call": config.get("call", {}),
            "weights fingerprint": str(config.get("weights_fingerprint", ""))[:16],
            "versions": environment.get("versions", {}),
            **made_with(environment.get("versions", {}).get("ditscope"), environment.get("ditscope_commit")),
            "prompts": list(dict.fromkeys(str(spec.prompt) for spec in specs)),
            "seeds": sorted({spec.seed for spec in specs}),
            "command": f"ditscope report {cache.path}",
        }
    )
    to = os.path.relpath(cache.path, folder)
    return report.beside({"the recording": to, "its manifest": os.path.join(to, "zarr.json")})


def _recorded(section: Section, cache: Cache, about: Mapping[str, object]) -> None:
    planned, made = len(cache.specs), len(cache.committed)
    if made < planned:
        section.text(f"**{made} of {planned} samples are recorded**; all below is of these.")
    if made and "images" in cache.plans:
        images = cache.images.isel(sample=slice(0, _SHOWN_IMAGES))
        section.figure(
            plots.image_grid(images, title="Recorded images", about=about),
            f"The first {images.sizes['sample']} recorded images with their prompts.",
            name="images",
        )
    section.code(repr(cache))
    for words, table in (("not finite", cache.nonfinite), ("at the limit of their dtype", cache.saturated)):
        if len(table):
            section.table(table.head(20), f"Values that are {words}: {len(table)} places, the first of them.")


def _ranked(cache: Cache) -> list[StoredSite]:
    """The block outputs of each stream, or the first site of a stream that has none, where there are statistics."""
    if not (cache.schema.stats and cache.committed):
        return []
    found: dict[str, StoredSite] = {}
    for site in sorted(cache.schema.sites, key=lambda site: site.name != "block_output"):
        if site.has_tokens:
            found.setdefault(site.stream, site)
    return [found[stream] for stream in sorted(found)]


def _channels(section: Section, cache: Cache, site: StoredSite, about: Mapping[str, object]) -> None:
    stream, name = site.stream, site.name
    ranking = rank_channels(cache, stream=stream, site=name)
    k = min(_K, ranking.ranked)
    section.text(
        f"Channels of `{name}` by `mean_abs`, the mean over tokens of the absolute value, averaged over images, "
        "steps and branches, from the recorded statistics."
    )
    section.figure(
        plots.channel_magnitude(ranking, by="channel", about=about),
        "Vertical lines are channels that lead in many blocks; the panel shows how far each block's largest channel "
        "stands above its median one.",
        name=f"{stream}-magnitude",
    )
    if not k:
        return
    section.figure(
        plots.channel_spectrum(ranking, k=k, relative=True, about=about),
        "Each block's channels in order of magnitude: a cliff would separate massive channels from the rest.",
        name=f"{stream}-spectrum",
    )
    concentration = ranking.concentration(k)
    ratio, share = concentration["top_over_median"], 100 * concentration["energy_share"]
    if cache.schema.tensors:
        block = int(ratio.argmax("block"))
        states = cache.hidden(stream, name, dtype="float32")
        hidden = states.isel(sample=0, step=-1, branch=0, block=block).compute()
        section.figure(
            plots.token_channel(hidden, massive=ranking.top(k), about={"model": about["model"]}),
            "The first image at the last step, in the block where the largest channel stands highest: massive at "
            "nearly all tokens, or at few of them?",
            name=f"{stream}-token-channel",
        )
    rows = [
        {
            "block": str(concentration["block_name"].values[row]),
            "largest channel": int(ranking.order.values[row, 0]),
            "largest / median": float(ratio[row]),
            f"energy share of top {k}, %": float(share[row]),
            "Gini": float(concentration["gini"][row]),
        }
        for row in range(concentration.sizes["block"])
    ]
    section.table(rows, "Concentration by block.")
    over = int((concentration["above_threshold"] > 0).sum())
    section.finding(
        f"The largest channel is {float(ratio.min()):.1f} to {float(ratio.max()):.1f} times the median channel, "
        f"depending on the block; the top {k} of {ranking.scores.sizes['channel']} hold "
        f"{float(share.min()):.0f} to {float(share.max()):.0f} % of the energy.",
        f"The {stream} stream is dominated by few channels to the extent that these ratios say.",
        "A large channel is not an important one: what an edit of it does to the image is measured by `ds.compare`. By "
        f"the threshold that Sun et al. use for language models, {over} of {ratio.size} blocks have a massive channel.",
    )
