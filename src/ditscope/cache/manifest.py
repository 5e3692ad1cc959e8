"""The manifest: what was recorded, from which model, with which call; JSON in the root group's attributes.

Its ``schema`` and ``config`` decide every stored number of a sample, so they make the configuration hash by which a
recording resumes; which samples there are is the ledger's. ``arrays`` says how each array is cut. The live state in
``config.live`` has the versions of the libraries that compute. The ``environment`` (all versions, device, time) may
differ between the sessions of one recording: information only.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from ditscope._version import commit
from ditscope.cache.json_values import json_values
from ditscope.cache.layout import ArrayPlan, plan_arrays
from ditscope.cache.schema import Schema
from ditscope.errors import CacheError, InputError

FORMAT = "ditscope-cache"
VERSION = 1
FEATURES: frozenset[str] = frozenset()
"""What a manifest may ask of its reader in ``requires``, beyond version 1 as it was first written."""

LIBRARIES = ("ditscope", "torch", "nnsight", "diffusers", "transformers", "numpy", "zarr")

_NAMED_DIFFERENCES = 6

_FIELDS = {"format", "version", "requires", "config_hash", "schema", "arrays", "config", "environment"}


@dataclass(frozen=True)
class Difference:
    """A field in which two configurations differ; ``<absent>`` where one lacks it."""

    field: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        return f"{self.field}: found {_short(self.found)}, expected {_short(self.expected)}"


def build_manifest(
    schema: Schema, config: Mapping[str, Any], environment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make the manifest of a new store.

    Args:
        schema: what the store will hold.
        config: everything else that decides the numbers: model, revision, weights hash, pipeline and
            scheduler class and config, call arguments, and the live state with the versions of the libraries
            that compute. Hashed.
        environment: what may change between sessions, such as the device. Not hashed: information, to which all
            versions, the time of creation and, of a checkout, ditscope's commit are added.

    Raises:
        InputError: a value is not JSON.
    """
    own_schema, own_config = schema.to_json(), json_values(config, "config")
    return {
        "format": FORMAT,
        "version": VERSION,
        "requires": [],
        "config_hash": _config_hash(own_schema, own_config),
        "schema": own_schema,
        "arrays": {path: json_values(plan.to_json(), path) for path, plan in plan_arrays(schema).items()},
        "config": own_config,
        "environment": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": library_versions(),
            **({"ditscope_commit": commit()} if commit() else {}),
            **json_values(environment or {}, "environment"),
        },
    }


def config_hash(schema: Schema, config: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of schema and config."""
    return _config_hash(schema.to_json(), json_values(config, "config"))


def validate_manifest(manifest: object, where: str) -> tuple[Schema, dict[str, ArrayPlan]]:
    """Check a manifest that was read from a store; return its schema, and its arrays by path.

    Raises:
        CacheError: it is no manifest of this version, or does not match its own hash.
    """
    if not isinstance(manifest, Mapping) or manifest.get("format") != FORMAT:
        raise CacheError(
            f"a zarr group without a ditscope manifest at {where}",
            "a cache that ditscope recorded",
            "Check the path.",
        )
    if manifest.get("version") != VERSION:
        raise CacheError(
            f"cache version {manifest.get('version')!r} at {where}",
            f"version {VERSION}",
            "Open it with the ditscope version that wrote it, or update ditscope.",
        )
    requires = manifest.get("requires")
    names = requires if isinstance(requires, list) else [requires]
    unknown = [name for name in names if not isinstance(name, str) or name not in FEATURES]
    if unknown:
        raise CacheError(
            f"a cache at {where} that requires {', '.join(map(str, unknown))}",
            f"what this ditscope knows: {', '.join(sorted(FEATURES)) or 'version 1 as it is'}",
            "Update ditscope.",
        )
    if set(manifest) != _FIELDS or not all(
        isinstance(manifest[name], Mapping) for name in ("schema", "arrays", "config", "environment")
    ):
        raise CacheError(
            f"manifest fields {', '.join(sorted(map(str, manifest)))} at {where}",
            f"{', '.join(sorted(_FIELDS))}",
            "The store is damaged; fetch it again or record it anew.",
        )
    try:
        return _validated(manifest, where)
    except InputError as error:
        raise CacheError(f"{error.found} in the manifest at {where}", error.expected, error.remedy) from error
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise CacheError(
            f"an unreadable manifest at {where} ({type(error).__name__}: {error})",
            f"a manifest of cache version {VERSION}",
            "The store is damaged, or none of ditscope's.",
        ) from error


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a whole manifest, by which the ledger knows it."""
    return _digest(manifest)


def _validated(manifest: Mapping[str, Any], where: str) -> tuple[Schema, dict[str, ArrayPlan]]:
    actual = _config_hash(manifest["schema"], manifest["config"])
    if actual != manifest["config_hash"]:
        raise CacheError(
            f"a manifest whose contents hash to {actual[:12]} at {where}",
            f"its own config_hash {str(manifest['config_hash'])[:12]}",
            "The manifest was altered; fetch the store again or record it anew.",
        )
    plans = {path: ArrayPlan.from_json(path, data) for path, data in manifest["arrays"].items()}
    schema = Schema.from_json(manifest["schema"])
    expected = plan_arrays(schema)
    # How an array is cut is the manifest's alone; what it holds follows from the schema.
    odd = [path for path in {**expected, **plans} if _held(plans.get(path)) != _held(expected.get(path))]
    if odd:
        raise InputError(
            f"arrays {', '.join(sorted(odd)[:3])} other than its schema has",
            "the arrays of its schema",
            "The store is damaged, or none of ditscope's.",
        )
    return schema, plans


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[Difference]:
    """Fields in which two manifests' schema or config differ, or in which two plain mappings do.

    Examples:
        >>> [difference.field for difference in ds.cache.differences({"steps": 4, "seed": 0}, {"steps": 8, "seed": 0})]
        ['steps']
    """
    if found.get("format") == FORMAT and expected.get("format") == FORMAT:
        found = {"schema": found["schema"], "config": found["config"]}
        expected = {"schema": expected["schema"], "config": expected["config"]}
    return list(_differ("", json_values(found, "found"), json_values(expected, "expected")))


def listed(found: Sequence[Difference]) -> str:
    """Differences in words, the first ones of many."""
    words = "; ".join(map(str, found[:_NAMED_DIFFERENCES]))
    more = len(found) - _NAMED_DIFFERENCES
    return f"{words}; and {more} more" if more > 0 else words


@functools.cache
def _installed() -> Mapping[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def library_versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that matter, without importing them, as they were at first."""
    return dict(_installed())


def _held(plan: ArrayPlan | None) -> object:
    return plan and (plan.kind, plan.dims, plan.shape, plan.dtype)


def _config_hash(schema: Any, config: Any) -> str:
    return _digest({"config": config, "schema": schema})


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _differ(path: str, found: Any, expected: Any) -> Any:
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in [*found, *(name for name in expected if name not in found)]:
            inner = f"{path}.{name}" if path else name
            yield from _differ(inner, found.get(name, _ABSENT), expected.get(name, _ABSENT))
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (a, b) in enumerate(zip(found, expected, strict=True)):
            yield from _differ(f"{path}[{index}]", a, b)
    elif found != expected:
        if isinstance(found, list) and isinstance(expected, list):
            found, expected = _Entries(found), _Entries(expected)
        yield Difference(path, found, expected)


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


class _Entries(list):
    """A list that shows how long it is before what is in it."""

    def __repr__(self) -> str:
        return f"{len(self)} entries {super().__repr__()}"


_ABSENT = _Absent()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
