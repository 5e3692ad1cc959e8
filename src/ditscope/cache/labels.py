"""The coordinates of every group of a store, from its schema.

The writer stores them as small arrays for whoever opens the store with plain xarray; the reader makes
them afresh from the manifest, so that no label has to be trusted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ditscope.cache.layout import ArrayPlan
from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import Schema, StepSpec, StoredSite, StreamSpec

Labels = dict[str, tuple[tuple[str, ...], np.ndarray[Any, Any]]]
"""Coordinate name -> (dims, values)."""


def sample_labels(samples: Sequence[SampleSpec], positions: Sequence[int] | None = None) -> Labels:
    """``sample``, ``prompt`` and ``seed``, of all samples or of those at the given positions."""
    chosen = range(len(samples)) if positions is None else positions
    return {
        "sample": (("sample",), np.asarray(chosen, dtype=np.int64)),
        "prompt": (("sample",), _strings([samples[i].prompt for i in chosen])),
        "seed": (("sample",), np.array([samples[i].seed for i in chosen], dtype=np.int64)),
    }


def site_labels(schema: Schema, site: StoredSite) -> Labels:
    """Coordinates of a site's ``[step, branch, block, channel]``."""
    blocks = schema.blocks_of(site)
    return {
        **_step_labels(schema.steps),
        **branch_labels(schema),
        "block": (("block",), np.array([block.index for block in blocks], dtype=np.int64)),
        "block_name": (("block",), _strings([block.name for block in blocks])),
        "block_kind": (("block",), _strings([block.kind for block in blocks])),
        "channel": (("channel",), np.array(schema.channels, dtype=np.int64)),
    }


def branch_labels(schema: Schema) -> Labels:
    """``branch``."""
    return {"branch": (("branch",), _strings(schema.branches))}


def statistic_labels(schema: Schema) -> Labels:
    """``statistic``: the names of statistics over tokens."""
    return {"statistic": (("statistic",), _strings(schema.statistics))}


def token_labels(stream: StreamSpec, *, kept: bool = True) -> Labels:
    """``token``, with ``y`` and ``x`` on a grid; of the tokens whose hidden states are kept, or of all.

    Randomly drawn tokens have their place in each sample's draw as a label: where they are is in ``token_id``.
    """
    if kept and stream.random_tokens is not None:
        return {"token": (("token",), np.arange(stream.random_tokens, dtype=np.int64))}
    chosen = stream.token_ids if kept and stream.token_ids is not None else range(stream.tokens)
    tokens = np.asarray(chosen, dtype=np.int64)
    labels: Labels = {"token": (("token",), tokens)}
    if stream.grid_width is not None:
        y, x = np.divmod(tokens, stream.grid_width)
        labels |= {"y": (("token",), y), "x": (("token",), x)}
    return labels


def trajectory_labels(schema: Schema) -> Labels:
    """Coordinates of the trajectory; ``step_boundary`` i is the state before step i, the last the result."""
    assert schema.trajectory is not None
    return {
        **_step_labels(schema.trajectory.steps),
        "step_boundary": (
            ("step_boundary",),
            np.arange(len(schema.trajectory.steps) + 1, dtype=np.int64),
        ),
        **branch_labels(schema),
    }


def region_labels(plan: ArrayPlan, schema: Schema, sample: int, region: tuple[slice, ...]) -> dict[str, Any]:
    """What a part of a sample is called: its array, stream and site, and along each axis a label.

    An axis of which the part spans more than one label has ``(first, last)``; it is left out where the part spans all
    of an axis without labels.
    """
    named: dict[str, Any] = {"array": plan.path}
    site = next((site for site in schema.sites if plan.path.startswith(f"{site.folder}/")), None)
    if site is not None:
        named |= {"stream": site.stream, "site": site.name}
    elif (stream := plan.path.split("/")[0]) in schema.stream_names:
        named["stream"] = stream
    steps = schema.trajectory.steps if plan.kind == "trajectory" and schema.trajectory else schema.steps
    axes: dict[str, Sequence[Any]] = {
        "step": [step.index for step in steps],
        "branch": schema.branches,
        "block": site.blocks if site else (),
        "statistic": schema.statistics,
        "channel": schema.channels,
    }
    if site is not None and plan.kind == "tensors" and (ids := schema.stream(site.stream).token_ids):
        axes["token"] = ids
    named["sample"] = sample
    for dim, part, length in zip(plan.dims, region, plan.shape, strict=True):
        values = axes.get(dim)
        first, last = (
            (part.start, part.stop - 1) if values is None else (values[part.start], values[part.stop - 1])
        )
        if first == last:
            named[dim] = first
        elif part.stop - part.start < length or dim in axes:
            named[dim] = (first, last)
    return named


def in_words(labels: Mapping[str, Any]) -> str:
    """Labels of a part as an error says them: ``sample 2, step 3 to 5``."""
    return ", ".join(
        f"{name} {value[0]} to {value[1]}" if isinstance(value, tuple) else f"{name} {value}"
        for name, value in labels.items()
    )


def _step_labels(steps: Sequence[StepSpec]) -> Labels:
    return {
        "step": (("step",), np.array([step.index for step in steps], dtype=np.int64)),
        "sigma": (("step",), np.array([step.sigma for step in steps], dtype=np.float64)),
        "timestep": (("step",), np.array([step.timestep for step in steps], dtype=np.float64)),
    }


def _strings(values: Sequence[str]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array
