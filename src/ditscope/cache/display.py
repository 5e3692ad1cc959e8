"""How a cache shows itself: what it is of, its size and shape, how much is done, what is wrong with it."""

from __future__ import annotations

import html as escaping
from typing import TYPE_CHECKING

from ditscope.cache.layout import forecast, readable_bytes
from ditscope.vocabulary import site_spec

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache


def rows(cache: Cache) -> list[tuple[str, str]]:
    """Name and value of every line of a cache's summary."""
    schema = cache.schema
    config = cache.manifest["config"]
    done, total = len(cache.committed), len(schema.samples)
    state = (
        "complete" if cache.complete else f"{total - done} to go: record again with the same configuration"
    )
    planned = forecast(schema).total
    axes = (
        f"step {len(schema.steps)}, branch {len(schema.branches)} ({', '.join(schema.branches)}), "
        f"block {len(schema.blocks)}"
    )
    with_tokens = any(site_spec(name).has_tokens for name in schema.sites)
    parts = {
        "tensors": schema.tensors and with_tokens,
        "stats": schema.stats and with_tokens,
        "modulation": not all((site_spec(name).has_tokens for name in schema.sites)),
        "trajectory": schema.trajectory,
        "images": schema.image_height,
    }
    lines = [
        ("model", str(config.get("model", "not named"))),
        ("samples", f"{done} of {total} committed ({state})"),
        ("kept", ", ".join(part for part, has in parts.items() if has)),
    ]
    for stream in schema.streams:
        tokens = f"token {stream.tokens}"
        if stream.has_grid:
            tokens += f" ({stream.grid_height} x {stream.grid_width})"
        channels = f"channel {len(schema.channels)} of {schema.width}"
        for site in schema.sites:
            if not site_spec(site).has_tokens:
                held, inner = "float32", ""
            elif schema.tensors:
                held, inner = schema.dtype, f"{tokens}, "
            else:
                held, inner = "statistics, float32", ""
            lines.append((f"{stream.name}/{site}", f"{held} [sample {total}, {axes}, {inner}{channels}]"))
    lines.append(("size", f"{readable_bytes(cache.nbytes)} on disk of {readable_bytes(planned)} planned"))
    if len(cache.nonfinite):
        count, places = int(cache.nonfinite["count"].sum()), cache.nonfinite["sample"].nunique()
        lines.append(("WARNING", f"{count} NaN or infinite values in {places} samples; see .nonfinite"))
    return lines


def text(cache: Cache) -> str:
    """The summary as text."""
    lines = rows(cache)
    width = max(len(name) for name, _ in lines)
    return "\n".join([f"<Cache {cache.path}>", *(f"  {name:<{width}}  {value}" for name, value in lines)])


def html(cache: Cache) -> str:
    """The summary as an HTML table; everything from the store is escaped."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escaping.escape(name)}</th>'
        f'<td style="text-align:left">{escaping.escape(value)}</td></tr>'
        for name, value in rows(cache)
    )
    return f"<table><caption>Cache {escaping.escape(str(cache.path))}</caption>{cells}</table>"
