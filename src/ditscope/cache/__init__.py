"""The zarr store of hidden states: schema, writer, ledger, reader, verification.

A store, version 1, is one zarr v3 group::

    zarr.json                       manifest in attribute "ditscope"; consolidated metadata, but not of bfloat16
    sample prompt seed done         labels of the samples; done repeats the ledger
    done/ledger/000000.json         ledger: one entry per committed sample, written last
    images                          uint8   [sample, y_pixel, x_pixel, rgb]
    <stream>/<site>                 hidden  [sample, step, branch, block, token, channel], sharded
    <stream>/token_mask             bool    [sample, branch, token], of streams without a grid
    <stream>/stats/<site>/<name>    float32 [sample, step, branch, block, channel] mean, mean_abs, std,
                                    abs_max; int32 nonfinite; int32 count without the channel axis
    trajectory/latents              float32 [sample, step_boundary, token, latent_channel]
    trajectory/transformer_output   hidden  [sample, step, branch, token, latent_channel]

Every group repeats its labels, so that it opens on its own. A sample's files lie under ``<array>/c/<sample>/``.
"""

from ditscope.cache.layout import Forecast, forecast
from ditscope.cache.manifest import build_manifest, config_hash, differences
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.schema import BlockSpec, SampleSpec, Schema, StepSpec, StreamSpec, TrajectorySpec
from ditscope.cache.verification import Verification, verify
from ditscope.cache.visit_reading import Address, Reading
from ditscope.cache.writer import CacheWriter

__all__ = [
    "Address",
    "BlockSpec",
    "Cache",
    "CacheWriter",
    "Forecast",
    "Reading",
    "SampleSpec",
    "Schema",
    "StepSpec",
    "StreamSpec",
    "TrajectorySpec",
    "Verification",
    "build_manifest",
    "config_hash",
    "differences",
    "forecast",
    "open_cache",
    "verify",
]
