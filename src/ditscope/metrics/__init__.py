"""What an image says about an edit: image and text-image metrics, each with its doubt."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClipScorer": "text_image",
        "METRICS": "registry",
        "Metric": "registry",
        "clip_image_distance": "features",
        "feature_distance": "features",
        "high_frequency_energy": "images",
        "mean_abs_difference": "images",
        "paired_bootstrap": "intervals",
        "paired_difference": "intervals",
        "paired_interval": "intervals",
        "psnr": "images",
        "resolve": "registry",
        "ssim": "images",
        "wilson_interval": "intervals",
    },
)
