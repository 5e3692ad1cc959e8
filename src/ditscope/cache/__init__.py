"""The zarr store of hidden states: schema, writer, ledger, reader, verification."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BlockSpec": "schema",
        "Cache": "reader",
        "CacheWriter": "writer",
        "Forecast": "layout",
        "Report": "verification",
        "SampleSpec": "schema",
        "Schema": "schema",
        "StepSpec": "schema",
        "StreamSpec": "schema",
        "TrajectorySpec": "schema",
        "build_manifest": "manifest",
        "config_hash": "manifest",
        "differences": "manifest",
        "forecast": "layout",
        "open_cache": "reader",
        "verify": "verification",
    },
)
