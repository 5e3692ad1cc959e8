"""Metrics by name, each with what a comparison has to know about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ditscope.errors import InputError, unknown_name
from ditscope.metrics import images as image_metrics
from ditscope.metrics.features import Features, clip_image_distance, feature_distance
from ditscope.metrics.text_image import ClipScorer

Compute: TypeAlias = Callable[[np.ndarray, np.ndarray | None, Sequence[str] | None], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A number per image.

    Attributes:
        name: its name in a comparison.
        label: what to write on an axis.
        unit: such as ``dB``; empty where it has none.
        paired: True compares an image with the baseline image of the same prompt and seed; False
            judges one image, with its prompt where ``prompted``.
        damage: whether a ``higher`` or a ``lower`` value means more damage; ``either`` where a change
            both ways is one.
        compute: from images ``[image, y, x, rgb]``, reference images or None, and prompts or None, to
            ``[image]``.
        prompted: whether it reads the prompts.
    """

    name: str
    label: str
    unit: str
    paired: bool
    damage: Literal["higher", "lower", "either"]
    compute: Compute
    prompted: bool = False

    @property
    def better(self) -> str:
        """Which direction is better: ``higher``, ``lower``, or ``either`` where that is not said."""
        return {"higher": "lower", "lower": "higher"}.get(self.damage, "either")

    def __call__(
        self, images: Any, *, reference: Any = None, prompts: Sequence[str] | None = None
    ) -> np.ndarray:
        """The metric of images ``[image, y, x, rgb]``: float64 ``[image]``.

        Raises:
            InputError: without the reference or the prompts that the metric needs.
        """
        images = np.asarray(images)
        if images.ndim != 4:
            raise InputError(f"images of shape {images.shape}", "[image, y, x, rgb]", "Stack them.")
        if self.paired and reference is None:
            raise InputError(f"no reference for {self.name}", "the baseline images", "Pass reference=.")
        if self.prompted and prompts is None:
            raise InputError(f"no prompts for {self.name}", "one per image", "Pass prompts=.")
        return np.asarray(
            self.compute(
                images, np.asarray(reference) if self.paired else None, prompts if self.prompted else None
            ),
            dtype=float,
        )


METRICS = (
    "clip_score",
    "clip_score_hessel",
    "clip_image_distance",
    "lpips",
    "psnr",
    "ssim",
    "ssim_luminance",
    "mean_abs_difference",
    "high_frequency_energy",
)
"""Names that :func:`resolve` knows."""

_NEED_CLIP = ("clip_score", "clip_score_hessel", "clip_image_distance")


def resolve(
    names: Iterable[str | Metric],
    *,
    clip: ClipScorer | str | Path | Callable[[], ClipScorer] | None = None,
    features: Features | None = None,
    cutoff: float = 0.25,
) -> dict[str, Metric]:
    """Metrics by name, in the order given.

    ``lpips`` is LPIPS in form only: unweighted distances of ``features`` where given, else of the CLIP's
    patch features. Its label says which. For the published one pass a Metric that calls it.

    Args:
        names: names from :data:`METRICS`, or Metric objects of your own.
        clip: a scorer, the name or folder of a CLIP, or a function that makes the scorer; opened only if
            a metric needs it.
        features: a network for ``lpips``, see :data:`ditscope.metrics.features.Features`.
        cutoff: of ``high_frequency_energy``, cycles per pixel.

    Raises:
        InputError: for an unknown name, a name given twice, or a CLIP metric without a CLIP.
    """
    wanted = [names] if isinstance(names, (str, Metric)) else list(names)
    if not wanted:
        raise InputError("no metrics", "at least one", f"Choose from {', '.join(METRICS)}.")
    titles = [metric.name if isinstance(metric, Metric) else metric for metric in wanted]
    for metric, title in zip(wanted, titles, strict=True):
        if not isinstance(metric, Metric) and metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        if titles.count(title) > 1:
            raise InputError(f"metric {title!r} twice", "distinct names", "Drop one.")
    needing = [
        t for t in wanted if isinstance(t, str) and (t in _NEED_CLIP or (t == "lpips" and features is None))
    ]
    if needing and clip is None:
        raise InputError(
            f"{needing[0]} without a CLIP",
            "a scorer",
            "Pass clip=ClipScorer.from_pretrained(folder or hub id)"
            + (", or features= for lpips." if "lpips" in needing else "."),
        )
    scorer = _open(clip) if needing else None
    return {
        title: metric if isinstance(metric, Metric) else _build(metric, scorer, features, cutoff)
        for title, metric in zip(titles, wanted, strict=True)
    }


def _open(clip: ClipScorer | str | Path | Callable[[], ClipScorer] | None) -> ClipScorer | None:
    if isinstance(clip, (str, Path)):
        return ClipScorer.from_pretrained(clip)
    return clip() if callable(clip) and not isinstance(clip, ClipScorer) else clip


def _build(name: str, scorer: Any, features: Features | None, cutoff: float) -> Metric:
    if name == "lpips":
        source = "given features" if features is not None else "CLIP patch features"
        network = features if features is not None else scorer.feature_maps
        label = f"LPIPS-like distance ({source}, unweighted)"
        return Metric(name, label, "", True, "higher", lambda i, r, p: feature_distance(i, r, network))
    table: dict[str, Callable[[], Metric]] = {
        "clip_score": lambda: Metric(
            name,
            "CLIP score (100 cos)",
            "",
            False,
            "lower",
            lambda i, r, p: scorer.score(i, p),
            prompted=True,
        ),
        "clip_score_hessel": lambda: Metric(
            name,
            "CLIPScore (2.5 max(cos, 0))",
            "",
            False,
            "lower",
            lambda i, r, p: scorer.score(i, p, convention="hessel"),
            prompted=True,
        ),
        "clip_image_distance": lambda: Metric(
            name,
            "CLIP image distance (1 - cos)",
            "",
            True,
            "higher",
            lambda i, r, p: clip_image_distance(i, r, scorer),
        ),
        "psnr": lambda: Metric(name, "PSNR", "dB", True, "lower", lambda i, r, p: image_metrics.psnr(i, r)),
        "ssim": lambda: Metric(
            name, "SSIM (RGB)", "", True, "lower", lambda i, r, p: image_metrics.ssim(i, r)
        ),
        "ssim_luminance": lambda: Metric(
            name,
            "SSIM (luminance)",
            "",
            True,
            "lower",
            lambda i, r, p: image_metrics.ssim(i, r, space="luminance"),
        ),
        "mean_abs_difference": lambda: Metric(
            name,
            "mean absolute difference",
            "",
            True,
            "higher",
            lambda i, r, p: image_metrics.mean_abs_difference(i, r),
        ),
        "high_frequency_energy": lambda: Metric(
            name,
            f"energy share over {cutoff:g} c/px",
            "",
            False,
            "either",
            lambda i, r, p: image_metrics.high_frequency_energy(i, cutoff=cutoff),
        ),
    }
    return table[name]()
