"""How a cache shows itself: what it is of, its size and shape, how much is done, what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditscope.cache.forecast import forecast_of
from ditscope.cache.layout import KINDS, readable_bytes

if TYPE_CHECKING:
    from ditscope.cache.reader import Cache
    from ditscope.cache.schema import StreamSpec


def rows(cache: Cache) -> list[tuple[str, str]]:
    """Name and value of every line of a cache's summary."""
    schema = cache.schema
    config = cache.manifest["config"]
    done, total = len(cache.committed), len(cache.specs)
    state = (
        "complete" if cache.complete else f"{total - done} to go: record again with the same configuration"
    )
    planned = forecast_of(cache.plans, total)
    axes = f"step {len(schema.steps)}, branch {len(schema.branches)} ({', '.join(schema.branches)})"
    of_one = forecast_of(cache.plans, 1)
    kept = (kind for kind in KINDS if kind != "masks" and getattr(of_one, kind))
    lines = [
        ("model", str(config.get("model", "not named"))),
        ("samples", f"{done} of {total} committed ({state})"),
        ("kept", ", ".join(kept)),
    ]
    if live := _live(config.get("live")):
        lines.append(("live", live))
    channels = f"channel {len(schema.channels)} of {schema.width}"
    for site in schema.sites:
        dtype, inner = site.dtype, ""
        if site.has_tokens:
            dtype, inner = (
                (site.dtype, f"{_tokens(schema.stream(site.stream))}, ")
                if schema.tensors
                else ("statistics, float32", "")
            )
        shape = f"sample {total}, {axes}, block {len(site.blocks)}, {inner}{channels}"
        lines.append((site.folder, f"{dtype} [{shape}]"))
    lines.append(
        ("size", f"{readable_bytes(cache.nbytes)} on disk of {readable_bytes(planned.total)} planned")
    )
    if cache.damaged_lines:
        lines.append(("WARNING", f"{len(cache.damaged_lines)} damaged lines of the ledger"))
    if len(cache.nonfinite):
        count, n_samples = int(cache.nonfinite["count"].sum()), cache.nonfinite["sample"].nunique()
        lines.append(("WARNING", f"{count} NaN or infinite values in {n_samples} samples; see .nonfinite"))
    saturated, truncated = cache.saturated, cache.truncated
    if len(saturated):
        channels = saturated.groupby(["stream", "site"])["channel"].nunique().sum()
        found = f"{saturated['count'].sum()} values at the limit of {schema.dtype} in {channels} channels"
        lines.append(("WARNING", f"{found}; see .saturated"))
    for encoder, rows_of in truncated.groupby("text_encoder"):
        lines.append((str(encoder), f"cut {rows_of['prompt'].nunique()} prompts short; see .truncated"))
    unseen = {entry.spec.prompt for entry in cache.ledger.values() if entry.text and entry.text.truncated}
    if unseen:
        lines.append(("WARNING", f"{len(unseen)} prompts were cut in every text encoder; see .truncated"))
    return lines


def _tokens(stream: StreamSpec) -> str:
    if not stream.has_grid:
        return f"token {stream.tokens}"
    kept = "" if stream.keeps_all else f"{stream.kept_tokens} of "
    drawn = "" if stream.random_tokens is None else ", drawn at random"
    return f"token {kept}{stream.tokens} ({stream.grid_height} x {stream.grid_width}{drawn})"


def _live(state: object) -> str:
    """The model's live state in a line: adapters with their scale, hooks and edits, versions of libraries."""
    if not isinstance(state, dict):
        return ""
    said = [
        f"{component}: {adapter} {'disabled' if value.get('disabled') else value.get('scale')}"
        for component, part in state.items()
        if isinstance(part, dict) and isinstance(part.get("adapters"), dict)
        for adapter, value in part["adapters"].items()
        if isinstance(value, dict)
    ]
    hooked = [name for name, part in state.items() if isinstance(part, dict) and part.get("hooks")]
    said += [f"hooks in {', '.join(hooked)}"] if hooked else []
    versions = state.get("versions")
    if isinstance(versions, dict):
        said += [
            f"{name} {versions[name]}" for name in ("diffusers", "transformers", "torch") if name in versions
        ]
    return ", ".join(said)
