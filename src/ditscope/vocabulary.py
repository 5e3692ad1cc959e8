"""The words of labels, arguments and prose: one home for every list of names.

A *sample* is one generated image (a prompt with a seed), a *visit* one call of the transformer, a *step* an index
into the scheduler's timesteps, a *branch* one side of classifier-free guidance, a *block* a transformer block in
execution order, a *stream* the image's or the text's tokens, a *site* a point inside a block or at its ends, a *token*
a position in a stream, and a *channel* an index in the hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

STREAMS = ("image", "text")
BRANCHES = ("cond", "uncond")

EMBEDDED_NAMES = ("shapes", "shapes-sana")
"""Names of all embedded pipelines: the second is of SANA, trained on the same scenes."""

HIDDEN_DIMS = ("sample", "step", "branch", "block", "token", "channel")
"""Dims of hidden states, in order."""

VALUE_DIMS = ("sample", "step", "branch", "block", "channel")
"""Dims of what has one value a channel: statistics over tokens, and modulation."""

RECORDED_STATISTICS = ("mean", "mean_abs", "std", "abs_max")
"""Statistics over tokens that are kept while recording, float32, beside ``nonfinite`` and ``count``."""

STATISTIC_ARRAYS = (*RECORDED_STATISTICS, "nonfinite", "count")
"""What is kept of each: ``nonfinite`` counts NaN and infinity, ``count``, without a channel axis, the tokens."""

READ_STATISTICS = (*STATISTIC_ARRAYS, "saturated")
"""What is read of each at a visit: ``saturated`` counts values at the dtype's limit, and goes into the ledger."""

STATISTICS: Mapping[str, str] = MappingProxyType(
    {
        "mean_abs": "mean over tokens of abs(x)",
        "abs_mean": "absolute value of the mean over tokens of x",
        "std": "population standard deviation over tokens",
        "abs_max": "largest abs(x) over tokens",
        "energy": "mean over tokens of x squared",
    }
)
"""Statistics by which channels can be ranked, and their definitions."""


@dataclass(frozen=True)
class SiteSpec:
    """A site: what is there, and what can be done with it.

    Attributes:
        name: the site's name.
        dims: dims of what a store holds of it.
        dtype: dtype in which it is stored; None for the model's own.
        editable: whether an edit can write there.
        inside: whether it lies inside a block, and not at its ends.
        blocks: indices of the blocks that have it; None for all.
        streams: the streams that have it; None for all.
    """

    name: str
    dims: tuple[str, ...] = HIDDEN_DIMS
    dtype: str | None = None
    editable: bool = True
    inside: bool = True
    blocks: tuple[int, ...] | None = None
    streams: tuple[str, ...] | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether there is a value for every token, as there is not of modulation."""
        return "token" in self.dims


def _modulation(name: str) -> SiteSpec:
    # As small as one statistic, so there is no choice of what to keep; float32 holds every dtype exactly.
    return SiteSpec(name, dims=VALUE_DIMS, dtype="float32")


SITES: Mapping[str, SiteSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            SiteSpec("block_input", inside=False),
            *map(
                _modulation, ("attn_shift", "attn_scale", "attn_gate", "mlp_shift", "mlp_scale", "mlp_gate")
            ),
            SiteSpec("attn_output"),
            SiteSpec("mlp_output"),
            SiteSpec("block_output", inside=False),
        )
    }
)
"""Every site by name, in the order in which a block passes them."""

MODULATION = tuple(name for name, spec in SITES.items() if not spec.has_tokens)
"""AdaLN modulation of attention and MLP, ``[row, 1, channel]``, as in force at the block."""

BLOCK_ENDS = tuple(name for name, spec in SITES.items() if not spec.inside)
"""Where a block takes and returns its streams: every block has them."""

EDITABLE_SITES = tuple(name for name, spec in SITES.items() if spec.editable)


def site_spec(name: str) -> SiteSpec:
    """What is known of a site; one that a newer or other recorder names is taken for hidden states."""
    return SITES.get(name, SiteSpec(name))


def passing_order(sites: Iterable[str], streams: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of site and stream in the order in which a block passes them.

    The modulation of one stream is made whole before that of the other; at other sites the streams go side by side.
    """
    names = list(SITES)

    def key(pair: tuple[str, str]) -> tuple[int, int, int]:
        site, stream = names.index(pair[0]), STREAMS.index(pair[1])
        if SITES[pair[0]].has_tokens:
            return site, stream, 0
        return names.index(MODULATION[0]), stream, site

    return sorted(((site, stream) for site in sites for stream in streams), key=key)
