"""A network's modules by class, with what each attribute is in them: small, and a difference has a name.

``LayerNorm.eps`` is one number where all modules of the class have the same; where they differ, each value is there
with the modules that have it, or with their number, and a digest over all of them by name.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from ditscope.models.module_attributes import module_attributes
from ditscope.models.plain_form import PlainForm, short_digest

_NAMED = 2
_SHOWN = 6
_PLAIN = (bool, int, str, type(None))
_as_json = json.JSONEncoder(sort_keys=True).encode


def module_table(members: Sequence[tuple[str, torch.nn.Module]], plain: PlainForm) -> dict[str, Any]:
    """Class -> attribute -> value, or what :func:`common` makes of several; and the modules' names, as a digest.

    Args:
        members: a network's modules by name.
        plain: makes plain forms.
    """
    names: dict[str, list[str]] = defaultdict(list)
    values: dict[str, dict[str, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    kinds = {kind: plain.class_name(kind) for kind in {type(module) for _, module in members}}
    for name, module in members:
        kind = kinds[type(module)]
        names[kind].append(name)
        for attribute, value in module_attributes(module):
            if not isinstance(value, torch.nn.Module | torch.device):
                own = value if type(value) in _PLAIN else plain(value)
                values[kind][attribute].append((name, own))
    return {
        kind: {
            "modules": f"{len(own)} {short_digest(own)}",
            **{attribute: common(found, len(own)) for attribute, found in sorted(values[kind].items())},
        }
        for kind, own in sorted(names.items())
    }


def common(found: Sequence[tuple[str, Any]], n_modules: int | None = None) -> Any:
    """The value that all modules have; else values with their modules or counts, and a digest over all.

    Args:
        found: (module, plain value) of each.
        n_modules: how many modules there are, if some may lack the value.
    """
    first = found[0][1]
    if n_modules in (None, len(found)) and all(_is_one(value, first) for _, value in found):
        return first
    texts = [_as_json(value) for _, value in found]
    counted = Counter(texts)
    if len(counted) == 1 and n_modules in (None, len(found)):
        return found[0][1]
    owners = {
        text: [name for (name, _), own in zip(found, texts, strict=True) if own == text]
        for text, count in counted.most_common()[-_SHOWN:]
        if count <= _NAMED
    }
    shown = {text: owners.get(text, count) for text, count in counted.most_common()[-_SHOWN:]}
    all_of_them = short_digest([[name, text] for (name, _), text in zip(found, texts, strict=True)])
    return {"values": shown, "distinct": len(counted), "digest": all_of_them}


def _is_one(value: Any, other: Any) -> bool:
    """Whether two plain values are one, as far as that is quickly told."""
    return value is other or (
        type(value) is type(other) and isinstance(value, str | float) and repr(value) == repr(other)
    )
