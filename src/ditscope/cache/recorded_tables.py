"""What is known of the samples of a recording, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ditscope.cache.sample_ledger import Entry
from ditscope.cache.samples import SampleSpec


def samples_table(specs: Sequence[SampleSpec], ledger: Mapping[int, Entry]) -> pd.DataFrame:
    """``prompt``, ``seed``, ``done`` and ``live`` of every sample, its own ``call`` where any has one, its columns."""
    entries = [ledger.get(position) for position in range(len(specs))]
    columns: dict[str, list[Any]] = {
        "prompt": [spec.prompt for spec in specs],
        "seed": [spec.seed for spec in specs],
        "done": [entry is not None for entry in entries],
        "live": [entry and entry.live for entry in entries],
    }
    if any(spec.call for spec in specs):
        columns["call"] = [dict(spec.call) for spec in specs]
    for name in dict.fromkeys(name for spec in specs for name in spec.columns):
        columns[name] = [spec.columns.get(name) for spec in specs]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(specs), name="sample"))


def truncated_prompts(ledger: Mapping[int, Entry]) -> pd.DataFrame:
    """``sample``, ``prompt``, ``text_encoder`` and ``cut`` of the prompts of which an encoder was not given all."""
    rows = [
        (sample, entry.spec.prompt, encoder, cut)
        for sample, entry in sorted(ledger.items())
        if entry.text is not None
        for encoder, cut in entry.text.cut.items()
        if cut
    ]
    return pd.DataFrame(rows, columns=["sample", "prompt", "text_encoder", "cut"])
