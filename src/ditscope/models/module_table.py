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


def module_table(network: torch.nn.Module, plain: PlainForm) -> dict[str, Any]:
    """Class -> attribute -> value, or what :func:`common` makes of several; and the modules' names, as a digest."""
    names: dict[str, list[str]] = defaultdict(list)
    values: dict[str, dict[str, list[tuple[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, module in network.named_modules():
        kind = plain.class_name(type(module))
        names[kind].append(name)
        for attribute, value in module_attributes(module):
            if not isinstance(value, torch.nn.Module | torch.device):
                values[kind][attribute].append((name, plain(value)))
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
    texts = [json.dumps(value, sort_keys=True) for _, value in found]
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
