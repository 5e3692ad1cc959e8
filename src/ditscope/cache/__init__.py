"""The zarr store of hidden states: schema, writer, ledger, reader, verification.

A store, version 1, is one zarr v3 group::

    zarr.json                                manifest in attribute "ditscope"; consolidated, but not of bfloat16
    sample prompt seed done                  labels of the samples; done repeats the ledger
    done/ledger/journal.jsonl                ledger: a line for every sample that is committed, written last
    call/t<digest>                           small tensors that calls were passed
    images                                   uint8   [sample, y_pixel, x_pixel, rgb]
    <stream>/<site>/hidden                   hidden  [sample, step, branch, block, token, channel], sharded
    <stream>/<site>/values                   float32 [sample, step, branch, block, channel], of modulation
    <stream>/<site>/statistics/over_tokens   float32 [sample, step, branch, block, statistic, channel], sharded
    <stream>/token_mask                      bool    [sample, branch, token], of streams without a grid
    <stream>/token_id                        int32   [sample, token], where tokens were drawn at random
    trajectory/latents                       float32 [sample, step_boundary, token, latent_channel]
    trajectory/transformer_output            hidden  [sample, step, branch, token, latent_channel]

Every group has its labels, so that it opens on its own. A sample's files are ``<array>/c.<sample>...``.
"""

from ditscope.cache.forecast import Forecast, forecast
from ditscope.cache.manifest import build_manifest, config_hash, differences
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import BlockSpec, Schema, StepSpec, StoredSite, StreamSpec, TrajectorySpec
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
    "StoredSite",
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
