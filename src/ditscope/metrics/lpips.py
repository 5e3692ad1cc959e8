"""LPIPS, the published metric, by the library of its authors."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError, UnsupportedError
from ditscope.metrics._images import as_pair
from ditscope.metrics.metric import metric

__all__ = ["lpips"]

_NETWORKS = ("alex", "vgg", "squeeze")
_LEAST = 32  # pixels: less does not get through the backbones' pooling


@functools.cache
def _network(net: str) -> Any:
    checks.name_of("net", net, _NETWORKS)
    try:
        import lpips as library
        import torchvision  # noqa: F401  (here, so that it is not taken for missing weights)
    except (ImportError, RuntimeError) as error:  # a torchvision that was built for another torch
        raise UnsupportedError(
            f"no LPIPS here ({error})",
            "the libraries lpips and torchvision",
            'Install them with pip install "ditscope[metrics]", or use feature_distance.',
        ) from error
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library calls torchvision by arguments of older versions
            return library.LPIPS(net=net, verbose=False).eval()
    except (OSError, RuntimeError) as error:
        raise UnsupportedError(
            f"no weights of the backbone {net} ({error})",
            f"torchvision's, in {torch.hub.get_dir()}/checkpoints",
            "Compute LPIPS once where there is a connection, and copy them from there, or use feature_distance.",
        ) from error


@metric("LPIPS (AlexNet)", damage="higher", opens=_network)
def lpips(images: Any, reference: Any, *, net: str = "alex", batch_size: int = 16) -> np.ndarray:
    """Learned perceptual image patch similarity, version 0.1 (Zhang et al. 2018), on the CPU.

    Args:
        images: ``[image, y, x, rgb]``, uint8 or floats from 0 to 1, at least 32 pixels each way.
        reference: the paired images.
        net: backbone: ``alex``, ``vgg`` or ``squeeze``.
        batch_size: pairs in each call of the network.

    Returns:
        float64 ``[image]``: 0 for equal images.

    Raises:
        UnsupportedError: the libraries lpips and torchvision, or the backbone's weights, are not there.

    Examples:
        >>> metric = ds.metrics.METRICS["lpips"].with_options(net="vgg")  # for ds.compare
    """
    import torch

    checks.whole_number("batch_size", batch_size)
    pair = as_pair(images, reference)
    if pair[0].ndim != 4 or min(pair[0].shape[1:3]) < _LEAST:
        raise InputError(
            f"images of shape {pair[0].shape}",
            f"[image, y, x, rgb], at least {_LEAST} pixels each way",
            "Stack them.",
        )
    network = _network(net)
    # The network takes -1 to 1, [image, rgb, y, x].
    one, other = (torch.from_numpy(np.moveaxis(values, -1, 1)).float() * 2 - 1 for values in pair)
    with torch.inference_mode():
        parts = [network(a, b) for a, b in zip(one.split(batch_size), other.split(batch_size), strict=True)]
    return torch.cat(parts).flatten().double().numpy()
