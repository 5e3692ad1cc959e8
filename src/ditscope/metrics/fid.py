"""How far the images of an edit, as a set, are from the baseline's, by Inception."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.errors import UnsupportedError
from ditscope.metrics._images import as_unit, stacked
from ditscope.metrics.metric import METRICS, metric

__all__ = ["fid", "frechet_distance"]

_FEATURES = 2048


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Frechet distance of two Gaussians with the means and covariances of two sets (Heusel et al. 2017, equation 6).

    Args:
        features: ``[image, feature]``.
        reference: the other set's.

    Examples:
        >>> features = np.eye(4)
        >>> abs(ds.metrics.frechet_distance(features, features)) < 1e-6
        True
    """
    one, other = (np.asarray(each, dtype=np.float64) for each in (features, reference))
    # Of the product of the covariances, the roots of its eigenvalues are the singular values of one set by the other.
    scaled = [(each - each.mean(0)) / np.sqrt(len(each) - 1) for each in (one, other)]
    shared = np.linalg.svd(scaled[0] @ scaled[1].T, compute_uv=False).sum()
    spread = sum((each**2).sum() for each in scaled)
    return float(((one.mean(0) - other.mean(0)) ** 2).sum() + spread - 2 * shared)


@functools.cache
def _opened(device: str | None) -> Any:
    import torch

    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # a torchvision that was built for another torch
        raise UnsupportedError(
            f"no Inception here ({error})",
            "the libraries torch-fidelity and torchvision",
            'Install them with pip install "ditscope[metrics]", or use cmmd.',
        ) from error
    try:
        network = FeatureExtractorInceptionV3("inception", [str(_FEATURES)])
    except (OSError, RuntimeError) as error:
        raise UnsupportedError(
            f"no weights of Inception ({error})",
            f"torch-fidelity's, in {torch.hub.get_dir()}/checkpoints",
            "Compute FID once where there is a connection, and copy them from there, or use cmmd.",
        ) from error
    return network.eval().to(device or "cpu")


@metric("FID", damage="higher", name="fid", distance=frechet_distance, least=_FEATURES + 1, opens=_opened)
def _features(images: Any, *, device: str | None = None, batch_size: int = 16) -> np.ndarray:
    import torch

    checks.whole_number("batch_size", batch_size)
    network, images = _opened(device), stacked(images)
    bytes_ = images if images.dtype == np.uint8 else np.round(as_unit(images) * 255).astype(np.uint8)
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(bytes_, -1, 1)))
    with torch.inference_mode():
        parts = [network(batch.to(device or "cpu"))[0].double().cpu() for batch in pixels.split(batch_size)]
    return torch.cat(parts).numpy()


def fid(images: Any, reference: Any, **options: Any) -> float:
    """Frechet inception distance of two sets of images, by torch-fidelity, whose Inception is TensorFlow's of 2015.

    It grows as sets get smaller (Binkowski et al. 2018), so only sets of one size are compared; with 2,048 images or
    fewer their covariances cannot even be of full rank, and they are refused. What a figure means is told by the same
    distance between two baselines of other seeds: measure that beside it. An interval takes the distance
    200 times, which is seconds each.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1.
        reference: the other set; pairs and numbers of images need not fit.
        **options: ``device``, where to run, None for the CPU; ``batch_size``, images in each call of the network.

    Raises:
        InputError: there are fewer than 2,049 images.
        UnsupportedError: the libraries or the weights are not there.

    Examples:
        >>> metric = ds.metrics.METRICS["fid"].with_options(batch_size=64)  # for ds.compare
    """
    measure = METRICS["fid"]
    return (measure.with_options(**options) if options else measure)(images, reference=reference)
