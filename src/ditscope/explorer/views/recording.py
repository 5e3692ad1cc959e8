"""What a recording has: the labels of every slider."""

from __future__ import annotations

import numpy as np

from ditscope.cache.reader import Cache
from ditscope.explorer.payload import Payload
from ditscope.explorer.view import view

__all__ = ["recording"]


@view
def recording(cache: Cache) -> Payload:
    """What was recorded; of every committed sample its prompt's number and its seed."""
    schema = cache.schema
    samples = np.asarray(cache.committed, np.int32)
    number: dict[str, int] = {}
    prompts = [number.setdefault(cache.specs[sample].prompt, len(number)) for sample in cache.committed]
    sites = [
        {
            "stream": site.stream,
            "site": site.name,
            "blocks": site.blocks,
            "dtype": site.dtype,
            "tokens": site.has_tokens and schema.tensors,
            "statistics": schema.stats or not site.has_tokens,
        }
        for site in schema.sites
    ]
    streams = {
        spec.name: {"tokens": spec.tokens, "height": spec.grid_height, "width": spec.grid_width}
        for spec in schema.streams
    }
    return Payload(
        {
            "kind": "recording",
            "name": cache.path.name,
            "path": str(cache.path),
            "model": str(cache.config.get("model", "not named")),
            "samples_planned": len(cache.specs),
            "streams": streams,
            "sites": sites,
            "blocks": [{"block": b.index, "name": b.name, "kind": b.kind} for b in schema.blocks],
            "steps": [{"step": s.index, "sigma": s.sigma, "timestep": s.timestep} for s in schema.steps],
            "branches": schema.branches,
            "width": schema.width,
            "images": "images" in cache.plans,
            "damaged_lines": len(cache.damaged_lines),
        },
        {
            "sample": samples,
            "prompt": np.asarray(prompts, np.int32),
            "seed": np.array([cache.specs[sample].seed for sample in cache.committed], np.float64),
            "channel": np.asarray(schema.channels, np.int32),
        },
    )
