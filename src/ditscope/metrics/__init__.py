"""What an image says about an edit: image and text-image metrics, each with its doubt."""

from ditscope.intervals import paired_bootstrap, paired_difference, paired_interval, wilson_interval
from ditscope.metrics.features import clip_image_distance, feature_distance
from ditscope.metrics.images import high_frequency_energy, mean_abs_difference, psnr, ssim
from ditscope.metrics.registry import METRICS, Metric, resolve
from ditscope.metrics.text_image import ClipScorer

__all__ = [
    "ClipScorer",
    "METRICS",
    "Metric",
    "clip_image_distance",
    "feature_distance",
    "high_frequency_energy",
    "mean_abs_difference",
    "paired_bootstrap",
    "paired_difference",
    "paired_interval",
    "psnr",
    "resolve",
    "ssim",
    "wilson_interval",
]
