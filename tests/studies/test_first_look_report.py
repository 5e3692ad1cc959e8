"""The sentences of the first look's report, from numbers made by hand: every verdict follows from its interval."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ditscope.report.page import Section
from ditscope.studies import FirstLook, first_look_report

BLOCKS = ["double.0", "single.0"]
EDITS = ["zero massive", "mean of massive", "zero energy-matched", "zero random", "zero bottom"]
DRAWN: list[str] = []


@pytest.fixture(autouse=True)
def no_figures(monkeypatch) -> None:
    """Figures have tests of their own: here they are named and not drawn."""
    DRAWN.clear()

    class Plots:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: name

    def figure(section: Section, drawn: str, caption: str, *, name: str) -> Section:
        DRAWN.append(drawn)
        return section.text(caption)

    monkeypatch.setattr(first_look_report, "plots", Plots())
    monkeypatch.setattr(Section, "figure", figure)


def over_blocks(**values: list[float]) -> xr.Dataset:
    coords = {"block": [0, 1], "block_name": ("block", BLOCKS)}
    return xr.Dataset({name: ("block", each) for name, each in values.items()}, coords=coords)


def comparison(contrast: tuple[float, float]) -> xr.Dataset:
    def table(values: list[float]) -> tuple[tuple[str, str], np.ndarray]:
        return ("metric", "edit"), np.array([values])

    low, high = contrast
    return xr.Dataset(
        {
            "mean": table([12.04, 30.0, 20.0, 25.0, 41.26]),
            "low": table([11.0, 29.0, 19.0, 24.0, 40.0]),
            "high": table([13.0, 31.0, 21.0, 26.0, 42.0]),
            "contrast_mean": table([0, 0, (low + high) / 2, 0, 0]),
            "contrast_low": table([0, 0, low, 0, 0]),
            "contrast_high": table([0, 0, high, 0, 0]),
            "energy_removed": ("edit", [0.61, 0.02, 0.583, 0.1, 0.001]),
            "fired": (("edit", "draw"), np.full((5, 1), 40.0)),
            "sample": np.arange(3),
        },
        coords={"metric": ["psnr"], "edit": EDITS, "label": ("metric", ["PSNR (dB)"])},
    )


def masks(lead: tuple[float, float]) -> dict[str, xr.Dataset]:
    low, high = lead
    dims = ("polarity", "selector", "block")
    iou = np.array([[[0.2, 0.41], [0.1, 0.1]], [[0.5, 0.83], [0.3, 0.4]]])
    leads = {"lead": (low + high) / 2, "lead_low": low, "lead_high": high}
    summary = xr.Dataset(
        {"iou": (dims, iou), **{name: (dims, np.full((2, 2, 2), value)) for name, value in leads.items()}},
        coords={
            "polarity": ["signed", "oracle"],
            "selector": ["top", "random"],
            "block": [0, 1],
            "block_name": ("block", BLOCKS),
        },
    )
    for name in ("polarity_right", "collapsed", "foreground_share"):
        summary[name] = (("selector", "block"), np.full((2, 2), 0.5))
    return {
        "masks": summary,
        "mask_summary": summary,
        "shown_masks": summary.assign(reference=summary["iou"]),
    }


def result(
    model: str = "shapes",
    contrast: tuple[float, float] = (-9.0, -7.0),
    lead: tuple[float, float] | None = None,
) -> Any:
    agreement = xr.Dataset(
        {
            name: (("across", "measure"), np.array(values)[:, None] * np.ones(2))
            for name, values in {
                "agreement": [0.91, 0.72, 0.33],
                "low": [0.9, 0.7, 0.3],
                "high": [0.92, 0.74, 0.36],
                "null": [0.024, 0.05, 0.06],
                "p_value": [0.001, 0.002, 0.003],
            }.items()
        },
        coords={"across": ["sample", "step", "block"], "measure": ["jaccard", "kendall_tau"]},
    )
    top = xr.DataArray([[1], [2]], dims=("block", "rank"), coords={"block": [0, 1]})
    arrays = {
        "ranking": xr.Dataset({"scores": (("block", "channel"), np.ones((2, 64))), "top": top}),
        "concentration": over_blocks(
            top_over_median=[3.04, 250.06],
            energy_share=[0.25, 0.758],
            above_threshold=[0, 2],
            gini=[0.1, 0.2],
            top_k_over_median=[2.0, 100.0],
        ),
        "stability": agreement,
        "needed": xr.Dataset(),
        "images": xr.Dataset({"images": 0}),
        "hidden": xr.Dataset({"hidden": 0}, coords={"block": 1}),
        "comparison": comparison(contrast),
        **(masks(lead) if lead else {}),
    }
    return SimpleNamespace(
        study=FirstLook(model=model),
        numbers={"config": {"k": 6, "num_inference_steps": 20, "dropped": None}, "model": "DiT: mine"},
        arrays=arrays,
        provenance={
            "samples": 24,
            "check": [
                {"claim": "order", "holds": True, "detail": "fine"},
                {"claim": "images", "holds": False, "detail": "0.5"},
            ],
            "recording": "Cache: 24 samples",
            "call": {"height": "64"},
            "weights_fingerprint": "0123456789abcdef0123",
            "versions": {"torch": "2.13.0"},
        },
    )


def page(**given: Any) -> str:
    return " ".join(first_look_report.draw_report(result(**given)).html().split())


def test_numbers_stand_where_they_are_claimed() -> None:
    text = page()
    for sentence in (
        "is 3.0 to 250.1 times the median channel, depending on the block; the top 6 of 64 hold 25 to 76 %",
        "1 of 2 blocks have a massive channel",
        "overlap by 0.91 between images, 0.72 between steps, 0.33 between blocks (chance 0.02)",
        "leaves PSNR 12.0 dB [11.0, 13.0], bottom channels 41.3 dB [40.0, 42.0]",
        "58 % of the stream&#39;s energy was removed, against 61 % for the massive channels",
        "12.0 / 41.3 dB",
    ):
        assert sentence in text, sentence
    assert all(word in text for word in ("0123456789abcdef", "Cache: 24 samples", "FAILS", "holds"))
    assert "0123456789abcdef0" not in text
    assert "dropped" not in text


@pytest.mark.parametrize(
    ("contrast", "verdict"),
    [
        ((-9.0, -7.0), "damage the image more than random channels"),
        ((0.5, 2.0), "damage the image less than random channels"),
        ((-1.0, 2.0), "damage the image not clearly more or less than random channels"),
    ],
)
def test_the_energy_matched_verdict_follows_its_interval(contrast, verdict) -> None:
    low, high = contrast
    text = page(contrast=contrast)
    assert verdict in text
    assert f"(difference {(low + high) / 2:+.1f} dB, interval {low:+.1f} to {high:+.1f})" in text


@pytest.mark.parametrize(
    ("lead", "verdict"),
    [
        ((0.1, 0.3), "they beat random channels (difference +0.20, interval +0.10 to +0.30)"),
        ((-0.3, -0.1), "they fall behind random channels"),
        ((-0.1, 0.3), "they do not clearly differ from random channels"),
    ],
)
def test_the_verdict_on_masks_follows_its_interval_at_the_best_block(lead, verdict) -> None:
    text = page(lead=lead)
    assert verdict in text
    assert "At single.0 masks of the top channels reach IoU 0.41 by the signed rule and 0.83" in text


def test_without_masks_there_is_no_section_of_them_and_each_figure_is_drawn_once() -> None:
    assert "Space: do they mark the subject?" not in page()
    page(lead=(0.1, 0.3))
    figures = ["channel_magnitude", "channel_spectrum", "token_channel", "jaccard_matrix", "stability_curve"]
    drawn = ["image_grid", *figures, "mask_grid", "iou_by_block", "image_grid", "ablation"]
    assert DRAWN[-len(drawn) :] == drawn


@pytest.mark.parametrize(
    ("model", "said"), [("shapes", "not about FLUX.1"), ("a/b", "about this checkpoint")]
)
def test_a_result_is_a_fact_about_its_own_model(model, said) -> None:
    assert page(model=model).count(said) == 3


def test_the_headline_is_what_a_user_could_reach() -> None:
    text = page(lead=(-0.1, 0.2))
    assert "<dd>0.41</dd>" in text
    assert "by the signed rule, at its best block; random ones 0.10" in text
    assert "<dd>0.83</dd>" not in text


def test_the_energy_matched_control_is_called_by_what_it_reached() -> None:
    assert ">zero random, 58.3 % of the energy (massive 61 %)</td>" in page()
