"""What an image says about an edit: image and text-image metrics, each with its doubt."""

from ditscope.intervals import interval_over, paired_difference, wilson_interval
from ditscope.metrics.features import clip_image_distance, feature_distance
from ditscope.metrics.images import high_frequency_energy, mean_abs_difference, psnr, ssim
from ditscope.metrics.registry import METRICS, Metric, resolve
from ditscope.metrics.text_image import ClipScorer

__all__ = [
    "METRICS",
    "ClipScorer",
    "Metric",
    "clip_image_distance",
    "feature_distance",
    "high_frequency_energy",
    "interval_over",
    "mean_abs_difference",
    "paired_difference",
    "psnr",
    "resolve",
    "ssim",
    "wilson_interval",
]
