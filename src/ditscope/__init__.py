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

import lazy_loader

from ditscope._version import __version__

# The names are in the stub beside this file, where editors and type checkers read them too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
