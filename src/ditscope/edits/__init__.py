"""Interventions on hidden states, with a scope, and the record of what they did."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Edit": "channel_edits",
        "EditedVisit": "applying",
        "Firings": "applying",
        "Scope": "scope",
        "mean": "channel_edits",
        "scale": "channel_edits",
        "zero": "channel_edits",
    },
)
