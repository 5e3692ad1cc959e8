"""What a metric is beside its name: what a sweep must find again to be gone on with."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import partial
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from ditscope.errors import InputError
from ditscope.metrics.clip_scorer import ClipScorer
from ditscope.models.plain_form import KNOWN_CODE, PlainForm, short_digest

if TYPE_CHECKING:
    from ditscope.metrics.metric import Metric


_MUTATING = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem"),
    *("popleft", "remove", "setdefault", "update"),
}
"""Methods that change what they are called of."""

_READING = ("LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD")
_MAKING = ("__init__", "__post_init__", "__new__", "__setattr__", "__delattr__", "__setstate__")


def identity(metrics: Sequence[Metric], prompts: Sequence[str]) -> dict[str, Any]:
    """What decides the numbers of metrics beside their names, as JSON values.

    ``metric_code`` has, by name, a digest of the code that a metric reaches and of the values that it goes by. Code of
    ditscope and of known libraries, whose versions are known, counts by its name. The digest of other code is another
    one in another version of Python. ``clip`` and ``metric_models`` are digests of the models that judge.

    Args:
        metrics: those of a comparison, with the CLIP that they need.
        prompts: of all samples.

    Raises:
        InputError: a metric's code writes into what outlives a call, and no ``made_of`` stands for it.
    """
    scorers = [metric.options["scorer"] for metric in metrics if "scorer" in metric.options]
    opened = {metric.name: metric.open(prompts) for metric in metrics}
    return {
        "metric_code": metric_code(metrics),
        "metric_models": {name: digest_of(model) for name, model in opened.items() if model is not None},
        "clip": digest_of(scorers[0]) if scorers else None,
    }


def metric_code(metrics: Iterable[Metric]) -> dict[str, str]:
    """Of metrics by name, a digest of their code and of the values that it goes by; errors as of :func:`identity`."""
    return {metric.name: _code_digest(metric) for metric in metrics}


def _code_digest(metric: Metric) -> str:
    reached = [_bare(metric.compute), metric.distance]
    form = _MetricForm()
    described = form(reached)
    if form.written:
        form = _MetricForm(form.written)
        described = form(reached)
    if form.left and not metric.made_of:
        raise InputError(
            f"the metric {metric.name!r}, whose code writes into {', '.join(form.left)}, which outlives a call: a "
            "store cannot know whether its numbers follow from what is in there",
            "a metric that is the same before and after its use",
            "Keep what it loads or computes by functools.cache, or say in made_of= of the Metric what beside its code "
            "decides its numbers, such as the name of a model: that stands for it then.",
        )
    return short_digest(described, 64)


def digest_of(value: Any) -> str:
    """SHA-256 of what something in memory is and does; see :mod:`ditscope.models.plain_form`."""
    if isinstance(value, ClipScorer):
        return value.fingerprint
    if isinstance(value, tuple):
        value = [digest_of(each) for each in value]
    return short_digest(_MetricForm()(value), 64)


def _bare(compute: Any) -> Any:
    """A metric's function without its scorer, which is known by itself."""
    if not isinstance(compute, partial):
        return compute
    kept = {name: value for name, value in compute.keywords.items() if name != "scorer"}
    return partial(compute.func, *compute.args, **kept)


class _MetricForm(PlainForm):
    """Plain forms of metrics, whose code is ditscope's, a library's or somebody's own.

    Args:
        left_out: names of variables and attributes that count for nothing.

    Attributes:
        written: names of the variables and attributes that outlive a call and that code writes into or rebinds.
        left: those that were left out, in order.
    """

    def __init__(self, left_out: Set[str] = frozenset()) -> None:
        super().__init__(gathered=True, libraries=KNOWN_CODE | {"ditscope"})
        self.written: set[str] = set()
        self.left: dict[str, None] = {}
        self._left_out = left_out

    def leaves_out(self, name: str, value: Any) -> bool:
        """Whether code writes into it; a module or a function is what it is."""
        found = name in self._left_out and not (
            inspect.isroutine(value) or isinstance(value, ModuleType | type)
        )
        if found:
            self.left[name] = None
        return found

    def _code(self, function: Any) -> Iterator[Any]:
        if function.__name__ not in _MAKING:
            self.written |= set(_written(function.__code__))
        yield from super()._code(function)


def _written(code: CodeType) -> Iterator[str]:
    """Names into which code, or code inside it, writes: what it rebinds, and whose items or members it changes.

    An expression such as ``self.memo[key]`` begins where its parts do, and the last part that is read there is what is
    written into.
    """
    read: dict[Any, str] = {}
    for each in dis.get_instructions(code):
        where = each.positions and (each.positions.lineno, each.positions.col_offset)
        outer = each.opname == "STORE_DEREF" and each.argval in code.co_freevars
        method = each.opname in ("LOAD_ATTR", "LOAD_METHOD") and each.argval in _MUTATING
        if method or each.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            yield from [read[where]] if where in read else []
        elif outer or each.opname in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL"):
            yield each.argval
        elif each.opname in _READING:
            read[where] = each.argval
        elif each.opname.startswith("LOAD_FAST"):
            read.pop(where, None)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _written(constant)
