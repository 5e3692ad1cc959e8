"""A page by itself: the front end and the answers for chosen samples, in one HTML file that works from a disk.

What is inside is what the server would answer, bit for bit; other places and channels are not, and the page says so.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ditscope import checks
from ditscope.cache.files import replace
from ditscope.cache.layout import readable_bytes
from ditscope.cache.reader import Cache
from ditscope.cache.schema import StoredSite
from ditscope.errors import InputError
from ditscope.explorer import front_end
from ditscope.explorer.payload import Payload
from ditscope.explorer.stores import Comparison, Store
from ditscope.explorer.view import Place, answer
from ditscope.explorer.views import VIEWS
from ditscope.paths import local_path

MOST_BYTES = 64 * 2**20
"""Most bytes of a page: what a browser opens at once, and a mail may still carry."""

SAMPLES = 4
"""Samples that are inside where none are named."""

MASSIVE = 6
"""Channels of a mask, as the page begins; the masks of more or fewer are not inside."""

_HEAD = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:\">\n"
)
_OPEN_WITHIN = """const home = document.querySelector(".explorer:not([data-open])");
home.dataset.open = "";
const answers = home.nextElementSibling, style = document.createElement("style"), root = document.createElement("div");
style.textContent = answers.nextElementSibling.textContent;
home.attachShadow({ mode: "open" }).append(style, root);
new Explorer(root, explorer.fromPage(JSON.parse(answers.textContent)), { note: "a part of the store" }).open();
"""
Question: TypeAlias = tuple[str, dict[str, Any]]
Change: TypeAlias = Callable[[Payload], Payload]


def export(
    store: Store,
    path: str | os.PathLike[str],
    *,
    samples: Iterable[int] | None = None,
    steps: int | Iterable[int] | None = None,
    blocks: Any = None,
    channels: Iterable[int] | int = 8,
    most_bytes: int = MOST_BYTES,
) -> Path:
    """Write a page of chosen samples.

    Args:
        store: a recording or a comparison.
        path: of the page.
        samples: positions of samples; by default the first four.
        steps: steps of a recording; None for all.
        blocks: blocks of a recording, as passes take them; None for all.
        channels: ids of the channels whose maps are inside, or how many: the ones that are among the first most
            often. In the image stream at ``block_output``, or the first site that there is.
        most_bytes: refuse to write a larger page.

    Returns:
        Where it is.

    Raises:
        InputError: a sample, step or block that is not there, or more than ``most_bytes``.
    """
    target = local_path(path)
    if target.is_dir():
        raise InputError(f"the folder {target}", "a file to write", "Pass page.html, say.")
    choice = {"samples": samples, "steps": steps, "blocks": blocks, "channels": channels}
    data = _answers([(store, choice)], most_bytes)
    body = (
        f'<script type="application/json" id="answers">{data}</script>\n<script type="module">{_script()}\n'
        'const answers = JSON.parse(document.getElementById("answers").textContent);\n'
        'explorer.mount(document.body, explorer.fromPage(answers), { note: "a part of the store, by itself" });'
        "</script>"
    )
    replace(target, front_end.page(head=f"{_HEAD}<style>{front_end.style()}</style>\n", body=body).encode())
    return target


def parts(
    chosen: Sequence[tuple[Store, Mapping[str, Any]]], *, most_bytes: int = MOST_BYTES
) -> tuple[str, str, str]:
    """What a page needs to have the explorer in it: the answers as JSON, the script and the style sheet.

    The script opens it in the first element of class ``explorer`` that is not open yet, which is followed by the
    answers and the style sheet, within a shadow root: neither page nor explorer changes how the other looks.

    Args:
        chosen: recordings and comparisons, each with ``samples``, ``steps``, ``blocks`` and ``channels``, as of
            :func:`export`.
        most_bytes: refuse larger answers.

    Raises:
        InputError: as of :func:`export`.
    """
    return _answers(chosen, most_bytes), f"{_script()}\n{_OPEN_WITHIN}", front_end.style()


def _script() -> str:
    return front_end.module().replace("export default {", "const explorer = {")


def _answers(chosen: Sequence[tuple[Store, Mapping[str, Any]]], most_bytes: int) -> str:
    """The answers to all that a page can ask, as JSON that may stand in HTML."""
    stores = [store for store, _ in chosen]
    inside, size = {}, 0
    for view, asked, change in _questions(chosen):
        said = answer(stores, view, {name: _text(value) for name, value in asked.items()})
        question = question_of(view, asked)
        inside[question] = base64.b64encode(zlib.compress(change(said).pack())).decode("ascii")
        size += len(question) + len(inside[question])
        if size > most_bytes:
            raise InputError(
                f"more than {readable_bytes(most_bytes)} for a page of this choice",
                "less",
                "Choose fewer samples, steps, blocks or channels, or raise most_bytes.",
            )
    return json.dumps(inside).replace("<", "\\u003c")


def _questions(
    chosen: Sequence[tuple[Store, Mapping[str, Any]]],
) -> Iterator[tuple[str, dict[str, Any], Change]]:
    """The questions of a page, and what is changed in the answer to each: sliders have only what is inside."""
    yield "stores", {}, _same
    for number, (store, choice) in enumerate(chosen):
        if isinstance(store, Cache):
            questions, changed = _of_recording(store, **choice)
        else:
            questions, changed = _of_comparison(store, choice["samples"])
        for view, asked in questions:
            yield view, {"store": number, **asked}, changed.get(view, _same)


def _same(said: Payload) -> Payload:
    return said


def _of_recording(
    cache: Cache, samples: Any, steps: Any, blocks: Any, channels: Any
) -> tuple[Iterator[Question], dict[str, Change]]:
    """The questions of a page on a recording, and the changes by view."""
    schema, site = cache.schema, page_site(cache)
    chosen = _samples(cache.committed, samples)
    kept_steps = checks.find_steps([step.index for step in schema.steps], steps)
    kept_blocks = [block.index for block in checks.find_blocks(schema.blocks_of(site), blocks)]
    branch = schema.branches[0]
    places = [
        Place(site.stream, site.name, sample, step, branch, block)
        for sample, step, block in itertools.product(chosen, kept_steps, kept_blocks)
    ]
    kept_channels = _channels(cache, places, channels)
    of_site = {"stream": site.stream, "site": site.name}

    def only(said: Payload) -> Payload:
        at = np.isin(said.arrays["sample"], chosen)
        values = dict(said.values)
        values["streams"] = {site.stream: values["streams"][site.stream]}
        values["sites"] = [
            {**each, "blocks": kept_blocks} for each in values["sites"] if each.items() >= of_site.items()
        ]
        values["blocks"] = [each for each in values["blocks"] if each["block"] in kept_blocks]
        values["steps"] = [each for each in values["steps"] if each["step"] in kept_steps]
        values |= {"branches": [branch], "channels_inside": kept_channels, "part": True}
        arrays = {**said.arrays, **{name: said.arrays[name][at] for name in ("sample", "prompt", "seed")}}
        return Payload(values, arrays)

    def questions() -> Iterator[Question]:
        yield "recording", {}
        for sample in chosen:
            yield "sample", {"sample": sample}
            if schema.stats and site.has_tokens:
                for channel in kept_channels:
                    yield "channel_scale", {**of_site, "sample": sample, "channel": channel}
        for place in places:
            at = asdict(place)
            yield "channel_ranking", {**at, "statistic": "mean_abs"}
            if not (site.has_tokens and schema.tensors):
                continue
            yield "tokens", at
            for channel in kept_channels:
                yield "channel_map", {**at, "channel": channel}
            if site.stream == "image" and schema.stream("image").keeps_all:
                yield "mask", {**at, "channels": _first(cache, place, MASSIVE)}

    return questions(), {"recording": only}


def _of_comparison(comparison: Comparison, samples: Any) -> tuple[Iterator[Question], dict[str, Change]]:
    """The questions of a page on a comparison: all cells, edits and draws, of some samples."""
    result = comparison.result
    chosen = _samples(range(result.sizes["sample"]), samples)

    def only(said: Payload) -> Payload:
        inside = {name: array[chosen] for name, array in said.arrays.items()}
        return Payload({**said.values, "part": True}, inside)

    def questions() -> Iterator[Question]:
        yield "comparison", {}
        shape = [result.sizes[dim] for dim in comparison.grid]
        for cell, edit in itertools.product(np.ndindex(*shape), range(result.sizes["edit"])):
            for metric in range(result.sizes["metric"]):
                yield "scores", {"cell": cell, "metric": metric, "edit": edit}
            for draw, sample in itertools.product(range(int(result["draws"][edit])), chosen):
                yield "edited", {"cell": cell, "edit": edit, "draw": draw, "sample": sample}

    return questions(), {"comparison": only}


def page_site(cache: Cache) -> StoredSite:
    """The site that a page has: the image stream's ``block_output``, or the first that there is."""
    sites = cache.schema.sites
    return next((each for each in sites if (each.stream, each.name) == ("image", "block_output")), sites[0])


def _channels(cache: Cache, places: Sequence[Place], asked: Iterable[int] | int) -> list[int]:
    """Ids of channels: those that are asked for, or so many that are most often among the first so many."""
    if not isinstance(asked, int):
        return sorted({checks.name_of("channel", each, cache.schema.channels) for each in asked})
    found = Counter(
        channel
        for place in places
        for channel in _first(cache, place, checks.whole_number("channels", asked))
    )
    return sorted(channel for channel, _ in found.most_common(asked))


def _first(cache: Cache, place: Place, n: int) -> list[int]:
    order = VIEWS["channel_ranking"](cache, place).arrays["order"][:n]
    return np.asarray(cache.schema.channels)[order].tolist()


def _samples(there: Sequence[int], asked: Iterable[int] | None) -> list[int]:
    if asked is None:
        return list(there[:SAMPLES])
    chosen = sorted(set(checks.whole_numbers("samples", asked)))
    for sample in chosen:
        checks.name_of("sample", sample, there)
    return chosen


def question_of(view: str, asked: Mapping[str, Any]) -> str:
    """One text for one question, the same in ``static/core.js``."""
    pairs = sorted([name, _text(value)] for name, value in asked.items())
    return json.dumps([view, pairs], separators=(",", ":"), ensure_ascii=False)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
