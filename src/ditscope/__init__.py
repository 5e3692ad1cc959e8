"""ditscope: record, rank, test and transport the hidden states of Diffusion Transformers.

The names a notebook needs; everything is imported when it is first used, so that ``import ditscope``
is quick::

    import ditscope as ds

    dit = ds.load("shapes")
    print(dit.check())
    with ds.record(dit, "shapes.zarr") as rec:
        cache = rec.generate(prompts, seeds=range(4), num_inference_steps=20)
    ranking = ds.passes.rank_channels(cache)
    result = ds.compare(dit, prompts, range(4), {"massive": ds.edits.zero(ranking.top(12))})
    ds.plots.ablation(result)
"""

from ditscope._lazy import attach
from ditscope._version import __version__

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Cache": "cache.reader",
        "DiT": "models.dit",
        "cache": "cache",
        "compare": "comparison",
        "edits": "edits",
        "errors": "errors",
        "load": "models.loading",
        "metrics": "metrics",
        "models": "models",
        "open_cache": "cache.reader",
        "passes": "passes",
        "plots": "plots",
        "record": "cache.record",
        "shapes": "shapes",
        "verify": "cache.verification",
    },
)
__all__ += ["__version__"]
