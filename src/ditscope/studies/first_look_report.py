"""The report of the first look: every sentence that states a result is written from the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ditscope import plots
from ditscope.models.embedded import EMBEDDED
from ditscope.passes.spatial_masks import spatial_masks
from ditscope.report.page import Report, Section

if TYPE_CHECKING:
    from ditscope.studies.first_look import Findings

_SCOPE = {
    True: "This is a fact about the small embedded pipeline, not about FLUX.1 or any other model.",
    False: "This is a fact about this checkpoint under these prompts, steps and guidance.",
}


def write_report(findings: Findings, folder: Path) -> Path:
    """Write ``report.html`` and its figures into ``folder``."""
    config = findings.config
    report = Report(
        f"First look at {config.model}",
        "Which hidden channels are massive, how stable they are, where they sit, and what the image loses "
        "without them.",
    )
    _key_numbers(report, findings)
    _model_section(report, findings)
    _magnitude_section(report, findings)
    _stability_section(report, findings)
    if findings.masks is not None:
        _mask_section(report, findings)
    _ablation_section(report, findings)
    manifest = findings.cache.manifest
    report.provenance(
        {
            "model": findings.model,
            "configuration": {name: str(value) for name, value in vars(config).items() if value is not None},
            "call": {name: str(value) for name, value in manifest["config"]["call"].items()},
            "weights fingerprint": manifest["config"]["weights_fingerprint"][:16],
            "versions": manifest["environment"]["versions"],
        }
    )
    return report.write(folder)


def _about(findings: Findings, **more: object) -> dict[str, object]:
    return {"model": findings.config.model, "samples": findings.cache.hidden().sizes["sample"], **more}


def _key_numbers(report: Report, findings: Findings) -> None:
    comparison, k = findings.comparison, findings.config.k
    ratio = findings.concentration["top_over_median"]
    report.key_number(f"{float(ratio.max()):.1f}x", "largest channel over the median one, in its best block")
    jaccard = findings.stability["agreement"].sel(across="sample", measure="jaccard")
    report.key_number(f"{float(jaccard):.2f}", f"overlap (Jaccard) of the top {k} between images")
    if findings.mask_means is not None:
        best = findings.mask_means["iou"].sel(polarity="oracle").isel(selector=0).max()
        report.key_number(f"{float(best):.2f}", "IoU of masks from the top channels, best block and polarity")
    psnr = comparison["mean"].sel(metric="psnr")
    report.key_number(
        f"{float(psnr.sel(edit='zero massive')):.1f} / {float(psnr.sel(edit='zero bottom')):.1f} dB",
        f"PSNR after zeroing the top / bottom {k} channels of every block",
    )


def _model_section(report: Report, findings: Findings) -> None:
    section = report.section("The model and the recording")
    section.text(
        "Before anything is recorded, the model is checked against plain PyTorch hooks on the bare pipeline: what "
        "a trace reads must be bit-equal to what the hooks see, and tracing must not change the image."
    )
    table = pd.DataFrame(
        [
            (finding.claim, "holds" if finding.holds else "FAILS", finding.detail)
            for finding in findings.check.findings
        ],
        columns=["claim", "result", "found"],
    )
    section.table(table.set_index("claim"), f"Checks on {findings.model}.")
    images = findings.cache.images.isel(sample=slice(0, 16))
    section.figure(
        plots.image_grid(
            images, title="Recorded images", about=_about(findings, steps=findings.config.n_steps)
        ),
        "The first recorded images with their prompts: what the numbers below are about.",
        name="images",
    )
    section.code(repr(findings.cache))


def _magnitude_section(report: Report, findings: Findings) -> None:
    section = report.section("Magnitude: a few channels lead")
    k, ranking = findings.config.k, findings.ranking
    section.text(
        "Channels are scored by `mean_abs`, the mean over image tokens of the absolute value, then averaged over "
        f"images and steps. The {k} highest of each block are called massive below."
    )
    section.figure(
        plots.channel_magnitude(ranking, by="channel", about=_about(findings)),
        "Vertical lines are channels that lead in many blocks; the panel shows how far each block's largest "
        "channel stands above its median one.",
        name="magnitude",
    )
    section.figure(
        plots.channel_spectrum(ranking, k=k, relative=True, about=_about(findings)),
        "Each block's channels in order of magnitude. A cliff would separate massive channels from the rest; a "
        "smooth curve means that k is a choice.",
        name="spectrum",
    )
    hidden = findings.cache.hidden()
    block = int(findings.concentration["top_over_median"].argmax("block"))
    one = hidden.isel(sample=0, step=-1, branch=0, block=block)
    section.figure(
        plots.token_channel(one, massive=ranking.top(k)[one["block"].item()]),
        "One image, one block, the last step: massive channels are large at nearly all tokens, or at few of them?",
        name="token_channel",
    )
    concentration = findings.concentration
    names = {
        "gini": "Gini",
        "energy_share": f"energy share of top {k}",
        "top_over_median": "largest / median",
        "top_k_over_median": f"mean of top {k} / median",
        "above_threshold": "over Sun et al.'s threshold",
    }
    frame = concentration[list(names)].reset_coords(drop=True).to_pandas().rename(columns=names)
    frame.index = pd.Index(concentration["block_name"].values, name="block")
    section.table(frame, "Concentration by block.")
    ratio = concentration["top_over_median"]
    over = int((concentration["above_threshold"] > 0).sum())
    section.finding(
        f"The largest channel is {float(ratio.min()):.1f} to {float(ratio.max()):.1f} times the median channel, "
        f"depending on the block; the top {k} of {ranking.scores.sizes['channel']} hold "
        f"{100 * float(concentration['energy_share'].min()):.0f} to "
        f"{100 * float(concentration['energy_share'].max()):.0f} % of the energy.",
        "The residual stream is dominated by few channels to the extent that these ratios say.",
        f"By the threshold that Sun et al. use for language models (over 100, and 1000 times the median), "
        f"{over} of {ratio.size} blocks have a massive channel. {_SCOPE[findings.config.model == EMBEDDED]}",
    )


def _stability_section(report: Report, findings: Findings) -> None:
    section = report.section("Stability: the same channels?")
    k, agreement = findings.config.k, findings.stability
    matrices = {
        "between images": agreement["jaccard_sample"],
        "between blocks": agreement["jaccard_block"],
        "between steps (mean over blocks)": agreement["jaccard_step"].mean("block", keep_attrs=True),
    }
    section.figure(
        plots.jaccard_matrix(matrices, about=_about(findings, k=k)),
        f"Overlap of the top {k} sets: 1 is the same set, the mark on the scale is chance.",
        name="stability",
    )
    rows = []
    for across in agreement["across"].values:
        for measure in agreement["measure"].values:
            at = agreement.sel(across=across, measure=measure)
            rows.append(
                {
                    "across": str(across),
                    "measure": str(measure).replace("_", " "),
                    "agreement": float(at["agreement"]),
                    "low": float(at["low"]),
                    "high": float(at["high"]),
                    "null": float(at["null"]),
                    "p": float(at["p_value"]),
                }
            )
    section.table(
        pd.DataFrame(rows).set_index(["across", "measure"]),
        "Agreement with bootstrap intervals over prompts, beside a permutation null.",
    )
    running = findings.needed["jaccard"].isel(order=0, stream=0)
    stop = float(findings.needed["needed"].isel(order=0))
    section.figure(
        plots.stability_curve(
            running,
            threshold=float(findings.needed.attrs.get("tau", 0.9)),
            stop=None if np.isnan(stop) else int(stop),
            about=_about(findings, k=k),
        ),
        "How many images a calibration needs before its top set stops changing (SPARK's rule, one image a step).",
        name="samples_needed",
    )
    jaccard = agreement.sel(measure="jaccard")
    parts = [
        f"{float(jaccard['agreement'].sel(across=across)):.2f} between {name}"
        for across, name in (("sample", "images"), ("step", "steps"), ("block", "blocks"))
    ]
    chance = float(jaccard["null"].sel(across="sample"))
    section.finding(
        f"The top {k} sets overlap by {', '.join(parts)} (chance {chance:.2f}).",
        "Where overlap is high, a set ranked on some images may be frozen and used on others.",
        "High overlap between images does not show that a channel carries nothing about the image; its sign and "
        f"its pattern over tokens may still vary. {_SCOPE[findings.config.model == EMBEDDED]}",
    )


def _mask_section(report: Report, findings: Findings) -> None:
    section = report.section("Space: do they mark the subject?")
    masks, means = findings.masks, findings.mask_means
    assert masks is not None
    assert means is not None
    assert findings.reference is not None
    k = findings.config.k
    section.text(
        "At the last step, each block's image tokens are clustered in two by K-means on the chosen channels, each "
        "scaled from 0 to 1 over tokens (arXiv 2605.13974, section 3.2). The signed rule calls the cluster of larger "
        "sum foreground; the oracle takes the better of a mask and its complement, which no user could."
    )
    iou = means["iou"].sel(polarity="oracle").isel(selector=0)
    blocks = sorted({0, int(iou.argmax("block")), iou.sizes["block"] - 1})
    names = [str(masks["block_name"].values[block]) for block in blocks]
    samples = slice(0, 5)
    found = spatial_masks(findings.cache, findings.ranking.top(k), blocks=names)
    own = masks["iou"].isel(selector=0, draw=0, sample=samples, block=blocks)
    section.figure(
        plots.mask_grid(
            findings.cache.images.isel(sample=samples),
            found["mask"].isel(sample=samples).transpose("sample", "block", "y", "x"),
            reference=findings.reference.isel(sample=samples).rename(y_pixel="y", x_pixel="x"),
            iou=own.transpose("sample", "block"),
            about=_about(findings, k=k),
        ),
        "Masks of the top channels by the signed rule, with the reference mask's outline and the IoU.",
        name="masks",
    )
    section.figure(
        plots.iou_by_block(means, about=_about(findings, k=k)),
        "IoU with the reference by block, for the top channels and the controls, with 95 % intervals over prompts.",
        name="mask_iou",
    )
    best = int(iou.argmax("block"))
    at = means.isel(block=best)
    rows = {
        str(selector): {
            "IoU, signed": float(at["iou"].sel(polarity="signed", selector=selector)),
            "IoU, oracle": float(at["iou"].sel(polarity="oracle", selector=selector)),
            "top leads by (oracle)": float(at["lead"].sel(polarity="oracle", selector=selector)),
            "low": float(at["lead_low"].sel(polarity="oracle", selector=selector)),
            "high": float(at["lead_high"].sel(polarity="oracle", selector=selector)),
            "polarity right": float(at["polarity_right"].sel(selector=selector)),
            "collapsed": float(at["collapsed"].sel(selector=selector)),
            "foreground share": float(at["foreground_share"].sel(selector=selector)),
        }
        for selector in means["selector"].values
    }
    best_name = str(masks["block_name"].values[best])
    section.table(
        pd.DataFrame(rows).T.rename_axis("selector"), f"Masks at {best_name}, the top channels' best block."
    )
    section.finding(*_mask_finding(means, best, best_name, findings.config.model == EMBEDDED))


def _mask_finding(means: xr.Dataset, best: int, name: str, embedded: bool) -> tuple[str, str, str]:
    at = means.isel(block=best)
    oracle = at["iou"].sel(polarity="oracle")
    signed = at["iou"].sel(polarity="signed")
    lead = at.sel(polarity="oracle", selector="random")
    low, high = float(lead["lead_low"]), float(lead["lead_high"])
    verdict = "beat" if low > 0 else ("fall behind" if high < 0 else "do not clearly differ from")
    return (
        f"At {name} masks of the top channels reach IoU {float(signed.isel(selector=0)):.2f} by the signed rule and "
        f"{float(oracle.isel(selector=0)):.2f} with the better polarity; they {verdict} random channels "
        f"(difference {float(lead['lead']):+.2f}, interval {low:+.2f} to {high:+.2f}).",
        "The gap between the two rules is what the choice of polarity costs; the gap to random channels is what "
        "magnitude buys.",
        "A good mask from the top channels does not show that they are special: compare the std-ranked channels and "
        f"the principal components. The block was chosen after the fact. {_SCOPE[embedded]}",
    )


def _ablation_section(report: Report, findings: Findings) -> None:
    section = report.section("Ablation: what does the image lose?")
    comparison, k = findings.comparison, findings.config.k
    section.text(
        f"The same prompts and seeds are generated again with {k} channels of every block set to zero, in every step "
        "and branch, and compared with the unedited image of the same prompt and seed. Controls: as many middle, "
        "bottom and random channels; random channels that hold as much energy; and the massive channels set to "
        "their own mean over tokens instead of zero."
    )
    shown = slice(0, 6)
    pictures = xr.concat(
        [
            comparison["baseline_images"].isel(sample=shown).expand_dims(edit=["unedited"]),
            comparison["images"].isel(draw=0, sample=shown).drop_vars(("draw", "draws")),
        ],
        dim="edit",
    ).transpose("sample", "edit", ...)
    section.figure(
        plots.image_grid(
            pictures,
            title="The same prompts and seeds under each edit",
            about={"model": findings.config.model, "k": k},
        ),
        "One row a prompt, one column an edit; random controls show their first draw.",
        name="edits",
    )
    section.figure(
        plots.ablation(
            comparison, about={"model": findings.config.model, "samples": comparison.sizes["sample"], "k": k}
        ),
        "Effect of each edit with 95 % bootstrap intervals over prompts, and the energy that it removed.",
        name="ablation",
    )
    _effect_tables(section, comparison)
    section.finding(*_ablation_finding(comparison, k, findings.config.model == EMBEDDED))


def _effect_tables(section: Section, comparison: xr.Dataset) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for edit in comparison["edit"].values:
        at = comparison.sel(edit=edit)
        row: dict[str, Any] = {"firings per image": float(at["fired"].isel(draw=0))}
        row["energy removed, %"] = 100 * float(at["energy_removed"])
        for metric in comparison["metric"].values:
            values = [float(at[name].sel(metric=metric)) for name in ("mean", "low", "high")]
            row[str(at["label"].sel(metric=metric).values)] = (
                f"{values[0]:.3g} [{values[1]:.3g}, {values[2]:.3g}]"
            )
        rows[str(edit)] = row
    section.table(pd.DataFrame(rows).T.rename_axis("edit"), "Effects with intervals.")


def _ablation_finding(comparison: xr.Dataset, k: int, embedded: bool) -> tuple[str, str, str]:
    psnr = comparison.sel(metric="psnr")

    def effect(edit: str) -> str:
        at = psnr.sel(edit=edit)
        return f"{float(at['mean']):.1f} dB [{float(at['low']):.1f}, {float(at['high']):.1f}]"

    control = psnr.sel(edit="zero energy-matched")
    low, high = float(control["contrast_low"]), float(control["contrast_high"])
    verdict = "more than" if high < 0 else ("less than" if low > 0 else "not clearly more or less than")
    return (
        f"Zeroing the {k} massive channels of every block leaves PSNR {effect('zero massive')}, bottom channels "
        f"{effect('zero bottom')}, random ones {effect('zero random')}; their mean in place of zero leaves "
        f"{effect('mean of massive')}. The massive channels damage the image {verdict} random channels of equal "
        f"recorded energy (difference {float(control['contrast_mean']):+.1f} dB, interval {low:+.1f} to {high:+.1f}).",
        "Bottom channels hold almost no energy, so that they do little harm is expected; the energy-matched control "
        "says how much of the damage is a matter of size. If the mean does far less harm than zero, the channels act "
        "in part as a constant.",
        "A changed image is not a lost meaning: PSNR cannot tell a moved object from a destroyed one, and CLIP can be "
        f"blind to large changes. Energy was matched on the recording, with more channels than {k}; under the edit "
        f"itself {_removed(comparison, 'zero energy-matched')} of the stream's energy was removed, against "
        f"{_removed(comparison, 'zero massive')} for the massive channels. {_SCOPE[embedded]}",
    )


def _removed(comparison: xr.Dataset, edit: str) -> str:
    return f"{100 * float(comparison['energy_removed'].sel(edit=edit)):.0f} %"
