"""What a DiT is: families as data, blocks with named streams, visits with steps and branches."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BRANCHES": "family",
        "Block": "block",
        "BlockList": "family",
        "DiT": "dit",
        "FAMILIES": "families",
        "Family": "family",
        "Guidance": "family",
        "SITES": "sites",
        "STREAMS": "family",
        "Visit": "visits",
        "load": "loading",
    },
)
