"""What a metric is beside its name: what a sweep must find again to be gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ditscope.metrics.clip_scorer import ClipScorer

if TYPE_CHECKING:
    from ditscope.metrics.metric import Metric


def identity(metrics: Sequence[Metric], prompts: Sequence[str]) -> dict[str, Any]:
    """What decides the numbers of metrics beside their names, as JSON values.

    ``metric_code`` has, by name, a digest of the code that a metric reaches and of the values that it goes by. Code of
    ditscope and of known libraries, whose versions are known, counts by its name. The digest of other code is another
    one in another version of Python. ``clip`` and ``metric_models`` are digests of the models that judge.

    Args:
        metrics: those of a comparison, with the CLIP that they need.
        prompts: of all samples.
    """
    scorers = [metric.options["scorer"] for metric in metrics if "scorer" in metric.options]
    opened = {metric.name: metric.open(prompts) for metric in metrics}
    return {
        "metric_code": {
            metric.name: digest_of([_bare(metric.compute), metric.distance]) for metric in metrics
        },
        "metric_models": {name: digest_of(model) for name, model in opened.items() if model is not None},
        "clip": digest_of(scorers[0]) if scorers else None,
    }


def digest_of(value: Any) -> str:
    """SHA-256 of what something in memory is and does; see :mod:`ditscope.models.plain_form`."""
    from ditscope.models.plain_form import KNOWN_CODE, PlainForm, short_digest

    if isinstance(value, ClipScorer):
        return value.fingerprint
    if isinstance(value, tuple):
        value = [digest_of(each) for each in value]
    return short_digest(PlainForm(gathered=True, libraries=KNOWN_CODE | {"ditscope"})(value), 64)


def _bare(compute: Any) -> Any:
    """A metric's function without its scorer, which is known by itself."""
    if not isinstance(compute, partial):
        return compute
    kept = {name: value for name, value in compute.keywords.items() if name != "scorer"}
    return partial(compute.func, *compute.args, **kept)
