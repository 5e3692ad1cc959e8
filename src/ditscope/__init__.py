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

from typing import Any

import lazy_loader

from ditscope._quiet import without_notes_on_torchvision
from ditscope.errors import no_attribute

without_notes_on_torchvision()

# The names are in the stub beside this file, where editors and type checkers read them too.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    raise no_attribute(__name__, name, __all__)
