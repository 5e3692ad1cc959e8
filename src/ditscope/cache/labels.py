"""The coordinates of every group of a store, from its schema.

The writer stores them as small arrays for whoever opens the store with plain xarray; the reader makes
them afresh from the manifest, so that no label has to be trusted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ditscope.cache.layout import ArrayPlan
from ditscope.cache.schema import Schema, StepSpec, StreamSpec

Labels = dict[str, tuple[tuple[str, ...], np.ndarray[Any, Any]]]
"""Coordinate name -> (dims, values)."""


def sample_labels(schema: Schema, samples: Sequence[int] | None = None) -> Labels:
    """``sample``, ``prompt`` and ``seed``, of all samples or of the given ones."""
    positions = range(len(schema.samples)) if samples is None else samples
    return {
        "sample": (("sample",), np.asarray(positions, dtype=np.int64)),
        "prompt": (("sample",), _strings([schema.samples[i].prompt for i in positions])),
        "seed": (("sample",), np.array([schema.samples[i].seed for i in positions], dtype=np.int64)),
    }


def stats_labels(schema: Schema, samples: Sequence[int] | None = None) -> Labels:
    """Coordinates of ``[sample, step, branch, block, channel]``."""
    return {
        **sample_labels(schema, samples),
        **_step_labels(schema.steps),
        "branch": (("branch",), _strings(schema.branches)),
        "block": (("block",), np.array([block.index for block in schema.blocks], dtype=np.int64)),
        "block_name": (("block",), _strings([block.name for block in schema.blocks])),
        "block_kind": (("block",), _strings([block.kind for block in schema.blocks])),
        "channel": (("channel",), np.array(schema.channels, dtype=np.int64)),
    }


def token_labels(stream: StreamSpec) -> Labels:
    """``token``, with ``y`` and ``x`` on a grid."""
    tokens = np.arange(stream.tokens, dtype=np.int64)
    labels: Labels = {"token": (("token",), tokens)}
    if stream.grid_width is not None:
        y, x = np.divmod(tokens, stream.grid_width)
        labels |= {"y": (("token",), y), "x": (("token",), x)}
    return labels


def trajectory_labels(schema: Schema, samples: Sequence[int] | None = None) -> Labels:
    """Coordinates of the trajectory; ``step_boundary`` i is the state before step i, the last the result."""
    assert schema.trajectory is not None
    return {
        **sample_labels(schema, samples),
        **_step_labels(schema.trajectory.steps),
        "step_boundary": (
            ("step_boundary",),
            np.arange(len(schema.trajectory.steps) + 1, dtype=np.int64),
        ),
        "branch": (("branch",), _strings(schema.branches)),
    }


def region_labels(plan: ArrayPlan, schema: Schema, region: tuple[slice, ...]) -> dict[str, Any]:
    """What a part of an array is called: its path, stream and site, and along each axis a label.

    An axis of which the part spans more than one label has ``(first, last)``; it is left out where the part spans all
    of an axis without labels.
    """
    parts = plan.path.split("/")
    named: dict[str, Any] = {"array": plan.path}
    if parts[0] in schema.stream_names:
        named["stream"] = parts[0]
        if plan.kind in ("tensors", "modulation", "stats"):
            named["site"] = parts[2] if plan.kind == "stats" else parts[1]
    steps = schema.trajectory.steps if plan.kind == "trajectory" and schema.trajectory else schema.steps
    axes: dict[str, list[Any]] = {
        "step": [step.index for step in steps],
        "branch": list(schema.branches),
        "block": [block.index for block in schema.blocks],
        "channel": list(schema.channels),
    }
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
