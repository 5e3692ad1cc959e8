"""The report of the first look: every sentence that states a result is written from the saved numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from ditscope import plots
from ditscope.report.page import Report, Section
from ditscope.studies.study import files, origins, scope_of

if TYPE_CHECKING:
    from ditscope.studies.study import Result

_SHOWN_EDITED = 6


def draw_report(result: Result) -> Report:
    """The report of a saved result of :class:`ditscope.studies.first_look.FirstLook`."""
    report = Report(
        f"First look at {result.study.model}",
        "Which hidden channels are massive, how stable they are, where they sit, and what the image loses "
        "without them.",
        opening="import ditscope as ds\nresult = ds.studies.FirstLook.load('.')  # the folder of the result",
    )
    _key_numbers(report, result)
    _model(report.section("The model and the recording"), result)
    _magnitude(report.section("Magnitude: a few channels lead"), result)
    _stability(report.section("Stability: the same channels?"), result)
    if "masks" in result.arrays:
        _masks(report.section("Space: do they mark the subject?"), result)
    _ablation(report.section("Ablation: what does the image lose?"), result)
    config = result.numbers["config"]
    report.provenance(
        {
            "model": result.numbers["model"],
            "configuration": {name: str(value) for name, value in config.items() if value is not None},
            "call": result.provenance["call"],
            "weights fingerprint": result.provenance["weights_fingerprint"][:16],
            **origins(result),
        }
    )
    return report.beside(files(result))


def _k(result: Result) -> int:
    return result.numbers["config"]["k"]


def _about(result: Result, **more: object) -> dict[str, object]:
    return {"model": result.study.model, "samples": result.provenance["samples"], **more}


def _scope(result: Result) -> str:
    return scope_of(result.study.model)


def _key_numbers(report: Report, result: Result) -> None:
    k, arrays = _k(result), result.arrays
    ratio = arrays["concentration"]["top_over_median"]
    report.key_number(f"{float(ratio.max()):.1f}x", "largest channel over the median one, in its best block")
    jaccard = arrays["stability"]["agreement"].sel(across="sample", measure="jaccard")
    report.key_number(f"{float(jaccard):.2f}", f"overlap (Jaccard) of the top {k} between images")
    if "masks" in arrays:
        usable = arrays["mask_summary"]["iou"].sel(polarity="signed")
        at = usable.isel(block=int(usable.isel(selector=0).argmax("block")))
        random = float(at.sel(selector="random"))
        report.key_number(
            f"{float(at.isel(selector=0)):.2f}",
            f"IoU of masks from the top channels by the signed rule, at its best block; random ones {random:.2f}",
        )
    psnr = arrays["comparison"]["mean"].sel(metric="psnr")
    report.key_number(
        f"{float(psnr.sel(edit='zero massive')):.1f} / {float(psnr.sel(edit='zero bottom')):.1f} dB",
        f"PSNR after zeroing the top / bottom {k} channels of every block",
    )


def _model(section: Section, result: Result) -> None:
    section.text(
        "Before anything is recorded, the model is checked against plain PyTorch hooks on the bare pipeline: what "
        "a trace reads must be bit-equal to what the hooks see, and tracing must not change the image."
    )
    claims = [
        {"claim": each["claim"], "result": "holds" if each["holds"] else "FAILS", "found": each["detail"]}
        for each in result.provenance["check"]
    ]
    section.table(claims, f"Checks on {result.numbers['model']}.")
    about = _about(result, steps=result.numbers["config"]["num_inference_steps"])
    section.figure(
        plots.image_grid(result.arrays["images"]["images"], title="Recorded images", about=about),
        "The first recorded images with their prompts: what the numbers below are about.",
        name="images",
    )
    section.code(result.provenance["recording"])


def _magnitude(section: Section, result: Result) -> None:
    k, about = _k(result), _about(result)
    ranking = result.arrays["ranking"]
    concentration = result.arrays["concentration"]
    section.text(
        "Channels are scored by `mean_abs`, the mean over image tokens of the absolute value, then averaged over "
        f"images and steps. The {k} highest of each block are called massive below."
    )
    section.figure(
        plots.channel_magnitude(ranking["scores"], by="channel", about=about),
        "Vertical lines are channels that lead in many blocks; the panel shows how far each block's largest "
        "channel stands above its median one.",
        name="magnitude",
    )
    section.figure(
        plots.channel_spectrum(ranking["scores"], k=k, relative=True, about=about),
        "Each block's channels in order of magnitude. A cliff would separate massive channels from the rest; a "
        "smooth curve means that k is a choice.",
        name="spectrum",
    )
    hidden = result.arrays["hidden"]["hidden"]
    massive = ranking["top"].sel(block=hidden["block"]).values.tolist()
    section.figure(
        plots.token_channel(hidden, massive=massive),
        "One image, one block, the last step: massive channels are dark columns where they are large at nearly all "
        "tokens; above, a bar is short where a channel is alike at all of them.",
        name="token_channel",
    )
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
    ratio, share = concentration["top_over_median"], 100 * concentration["energy_share"]
    over = int((concentration["above_threshold"] > 0).sum())
    section.finding(
        f"The largest channel is {float(ratio.min()):.1f} to {float(ratio.max()):.1f} times the median channel, "
        f"depending on the block; the top {k} of {ranking.sizes['channel']} hold "
        f"{float(share.min()):.0f} to {float(share.max()):.0f} % of the energy.",
        "The residual stream is dominated by few channels to the extent that these ratios say.",
        f"By the threshold that Sun et al. use for language models (over 100, and 1000 times the median), "
        f"{over} of {ratio.size} blocks have a massive channel. {_scope(result)}",
    )


def _stability(section: Section, result: Result) -> None:
    k = _k(result)
    agreement = result.arrays["stability"]
    about = _about(result, k=k)
    section.figure(
        plots.jaccard_matrix(agreement, about=about),
        f"Overlap of the top {k} sets: 1 is the same set, the mark on the scale is chance.",
        name="stability",
    )
    names = {"agreement": "agreement", "low": "low", "high": "high", "null": "null", "p_value": "p"}
    rows = [
        {"across": str(across), "measure": str(measure).replace("_", " ")}
        | {label: float(agreement[name].sel(across=across, measure=measure)) for name, label in names.items()}
        for across in agreement["across"].values
        for measure in agreement["measure"].values
    ]
    section.table(rows, "Agreement with bootstrap intervals over prompts, beside a permutation null.")
    section.figure(
        plots.stability_curve(result.arrays["needed"], about=about),
        "Where SPARK's rule, one image a step, would stop a calibration.",
        name="samples_needed",
    )
    jaccard = agreement.sel(measure="jaccard")
    parts = [
        f"{float(jaccard['agreement'].sel(across=across)):.2f} between {name}"
        for across, name in (("sample", "images"), ("step", "steps"), ("block", "blocks"))
    ]
    section.finding(
        f"The top {k} sets overlap by {', '.join(parts)} (chance {float(jaccard['null'].sel(across='sample')):.2f}).",
        "Where overlap is high, a set ranked on some images may be frozen and used on others.",
        "High overlap between images does not show that a channel carries nothing about the image; its sign and "
        f"its pattern over tokens may still vary. {_scope(result)}",
    )


def _masks(section: Section, result: Result) -> None:
    about = _about(result, k=_k(result))
    summary = result.arrays["mask_summary"]
    shown = result.arrays["shown_masks"]
    section.text(
        "At the last step, each block's image tokens are clustered in two by K-means on the chosen channels, each "
        "scaled from 0 to 1 over tokens (arXiv 2605.13974, section 3.2). The signed rule calls the cluster of larger "
        "sum foreground; the oracle takes the better of a mask and its complement, which no user could."
    )
    section.figure(
        plots.mask_grid(
            result.arrays["images"]["images"],
            shown,
            reference=shown["reference"],
            iou=shown,
            about=about,
        ),
        "Masks of the top channels by the signed rule, with the reference mask's outline and the IoU.",
        name="masks",
    )
    section.figure(
        plots.iou_by_block(summary, about=about),
        "IoU with the reference by block, for the top channels and the controls, with 95 % intervals over prompts.",
        name="mask_iou",
    )
    best = int(summary["iou"].sel(polarity="oracle").isel(selector=0).argmax("block"))
    at = summary.isel(block=best)
    oracle, signed = (at.sel(polarity=rule, drop=True) for rule in ("oracle", "signed"))
    name = str(at["block_name"].item())
    table = xr.Dataset(
        {
            "IoU, signed": signed["iou"],
            "IoU, oracle": oracle["iou"],
            "top leads by (oracle)": oracle["lead"],
            "low": oracle["lead_low"],
            "high": oracle["lead_high"],
            "polarity right": at["polarity_right"],
            "collapsed": at["collapsed"],
            "foreground share": at["foreground_share"],
        }
    )
    section.table(
        table.reset_coords(drop=True).to_dataframe(), f"Masks at {name}, the top channels' best block."
    )
    lead, low, high = (
        float(oracle[part].sel(selector="random")) for part in ("lead", "lead_low", "lead_high")
    )
    verdict = "beat" if low > 0 else ("fall behind" if high < 0 else "do not clearly differ from")
    section.finding(
        f"At {name} masks of the top channels reach IoU {float(signed['iou'][0]):.2f} by the signed rule and "
        f"{float(oracle['iou'][0]):.2f} with the better polarity; they {verdict} random channels "
        f"(difference {lead:+.2f}, interval {low:+.2f} to {high:+.2f}).",
        "The gap between the two rules is what the choice of polarity costs; the gap to random channels is what "
        "magnitude buys.",
        "A good mask from the top channels does not show that they are special: compare the std-ranked channels and "
        f"the principal components. The block was chosen after the fact. {_scope(result)}",
    )


def _names(comparison: xr.Dataset) -> list[str]:
    """The edits, the energy-matched control by what it reached under the edit itself."""
    removed = 100 * comparison["energy_removed"]
    reached, wanted = (float(removed.sel(edit=edit)) for edit in ("zero energy-matched", "zero massive"))
    name = f"zero random, {reached:.3g} % of the energy (massive {wanted:.3g} %)"
    return [name if edit == "zero energy-matched" else edit for edit in comparison["edit"].values.tolist()]


def _ablation(section: Section, result: Result) -> None:
    k = _k(result)
    comparison = result.arrays["comparison"]
    names = _names(comparison)
    named = comparison.assign_coords(edit=names)
    section.text(
        f"The same prompts and seeds are generated again with {k} channels of every block set to zero, in every step "
        "and branch, and compared with the unedited image of the same prompt and seed. Controls: as many middle, "
        "bottom and random channels; random channels that hold as much energy; and the massive channels set to "
        "their own mean over tokens instead of zero."
    )
    about = {"model": result.study.model, "k": k, "samples": comparison.sizes["sample"]}
    section.figure(
        plots.image_grid(
            named.isel(sample=slice(0, _SHOWN_EDITED)),
            title="The same prompts and seeds under each edit",
            about=about,
        ),
        "One row a prompt, one column an edit; random controls show their first draw.",
        name="edits",
    )
    section.figure(
        plots.ablation(named, about=about),
        "Effect of each edit with 95 % bootstrap intervals over prompts, and the energy that it removed.",
        name="ablation",
    )
    section.table([_effects(named, str(edit)) for edit in named["edit"].values], "Effects with intervals.")
    psnr = comparison.sel(metric="psnr")

    def effect(edit: str) -> str:
        mean, low, high = (float(psnr[name].sel(edit=edit)) for name in ("mean", "low", "high"))
        return f"{mean:.1f} dB [{low:.1f}, {high:.1f}]"

    def removed(edit: str) -> str:
        return f"{100 * float(comparison['energy_removed'].sel(edit=edit)):.0f} %"

    control = psnr.sel(edit="zero energy-matched")
    low, high = float(control["contrast_low"]), float(control["contrast_high"])
    verdict = "more than" if high < 0 else ("less than" if low > 0 else "not clearly more or less than")
    section.finding(
        f"Zeroing the {k} massive channels of every block leaves PSNR {effect('zero massive')}, bottom channels "
        f"{effect('zero bottom')}, random ones {effect('zero random')}; their mean in place of zero leaves "
        f"{effect('mean of massive')}. The massive channels damage the image {verdict} random channels of equal "
        f"recorded energy (difference {float(control['contrast_mean']):+.1f} dB, interval {low:+.1f} to {high:+.1f}).",
        "Bottom channels hold almost no energy, so that they do little harm is expected; the energy-matched control "
        "says how much of the damage is a matter of size. If the mean does far less harm than zero, the channels act "
        "in part as a constant.",
        "A changed image is not a lost meaning: PSNR cannot tell a moved object from a destroyed one, and CLIP can be "
        f"blind to large changes. Energy was matched on the recording, with more channels than {k}; under the edit "
        f"itself {removed('zero energy-matched')} of the stream's energy was removed, against "
        f"{removed('zero massive')} for the massive channels. {_scope(result)}",
    )


def _effects(comparison: xr.Dataset, edit: str) -> dict[str, object]:
    at = comparison.sel(edit=edit)
    row: dict[str, object] = {
        "edit": edit,
        "firings per image": float(at["fired"].isel(draw=0)),
        "energy removed, %": 100 * float(at["energy_removed"]),
    }
    for metric in at["metric"].values:
        mean, low, high = (float(at[name].sel(metric=metric)) for name in ("mean", "low", "high"))
        row[str(at["label"].sel(metric=metric).item())] = f"{mean:.3g} [{low:.3g}, {high:.3g}]"
    return row
