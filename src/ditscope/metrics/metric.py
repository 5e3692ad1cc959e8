"""What a metric is, and the metrics there are, each registered where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from ditscope import checks
from ditscope.errors import InputError
from ditscope.metrics._images import stacked
from ditscope.metrics.clip_scorer import ClipScorer

__all__ = ["METRICS", "Metric", "metric", "register", "resolve"]

Damage: TypeAlias = Literal["higher", "lower", "either"]
Score = TypeVar("Score", bound=Callable[..., np.ndarray])

INPUTS = {
    "reference": "the baseline images of the same prompts and seeds",
    "prompts": "one for each image",
    "scorer": "the ClipScorer of a CLIP",
    "latents": "latents of the same samples, float32 [sample, token, latent channel]",
    "reference_latents": "the baseline's latents of the same prompts and seeds",
}
"""What a metric may need beside images, by the names of its function's parameters. One whose first is ``latents``
needs no images."""


@dataclass(frozen=True)
class Metric:
    """A number for each image, and what a comparison has to know about it.

    Attributes:
        name: its name in a comparison.
        label: what to write on an axis.
        compute: function of images ``[image, y, x, rgb]`` and what else it needs, as parameters without a default:
            any of :data:`INPUTS`. It returns ``[image]``.
        unit: such as ``dB``; empty where it has none.
        damage: whether a ``higher`` or a ``lower`` value means more damage; ``either`` where a change
            both ways is one.

    Raises:
        InputError: the function needs something else.
    """

    name: str
    label: str
    compute: Callable[..., np.ndarray]
    unit: str = ""
    damage: Damage = "either"

    def __post_init__(self) -> None:
        checks.name_of("damage", self.damage, get_args(Damage))
        for need in self.needs:
            checks.name_of(f"parameter of metric {self.name}", need, INPUTS)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside images."""
        first, *more = inspect.signature(self.compute).parameters.values()
        needed = [parameter.name for parameter in more if parameter.default is parameter.empty]
        return ("latents", *needed) if first.name == "latents" else tuple(needed)

    @property
    def of_images(self) -> bool:
        """Whether it judges images; else it judges latents, for which nothing has to be decoded."""
        return next(iter(inspect.signature(self.compute).parameters)) != "latents"

    @property
    def paired(self) -> bool:
        """Whether it compares with the baseline; else it judges what there is by itself."""
        return not {"reference", "reference_latents"}.isdisjoint(self.needs)

    @property
    def better(self) -> str:
        """Which direction is better: ``higher``, ``lower``, or ``either`` where that is not said."""
        return {"higher": "lower", "lower": "higher"}.get(self.damage, "either")

    def __call__(self, images: Any, **inputs: Any) -> np.ndarray:
        """The metric of images ``[image, y, x, rgb]``: float64 ``[image]``.

        Args:
            images: the images; of a metric of latents, None will do.
            **inputs: any of :data:`INPUTS`; what it does not need is left aside.

        Raises:
            InputError: without something that it needs, or where its function does not return one number an image.
        """
        needs = self.needs
        for need in needs:
            if inputs.get(need) is None:
                raise InputError(f"no {need} for {self.name}", INPUTS[need], f"Pass {need}=.")
        judged = (stacked(images),) if self.of_images else ()
        count = len(judged[0] if judged else inputs["latents"])
        scores = np.asarray(self.compute(*judged, **{need: inputs[need] for need in needs}), dtype=float)
        if scores.shape != (count,):
            raise InputError(
                f"scores of shape {scores.shape} from {self.name}",
                f"one number for each of {count} {'images' if judged else 'samples'}",
                "Reduce over everything else.",
            )
        return scores


_registered: dict[str, Metric] = {}

METRICS: Mapping[str, Metric] = MappingProxyType(_registered)
"""Every registered metric by its name."""


def register(metric: Metric) -> Metric:
    """Make a metric known by its name; one of the same module takes the place of what it registered before.

    Raises:
        InputError: another module has a metric of this name.
    """
    known = _registered.get(metric.name)
    if known is not None and known.compute.__module__ != metric.compute.__module__:
        raise InputError(
            f"a second metric {metric.name!r}",
            "a new name",
            f"{known.compute.__module__} has one: rename yours.",
        )
    _registered[metric.name] = metric
    return metric


def metric(
    label: str, *, unit: str = "", damage: Damage = "either", name: str | None = None
) -> Callable[[Score], Score]:
    """Decorator that registers a function as a :class:`Metric`, by its own name unless ``name`` is given::

    @ds.metrics.metric("mean red", damage="either")
    def redness(images):
        return images[..., 0].mean(axis=(1, 2))
    """

    def registering(compute: Score) -> Score:
        register(Metric(name or compute.__name__, label, compute, unit, damage))
        return compute

    return registering


def resolve(
    names: str | Metric | Iterable[str | Metric],
    *,
    clip: ClipScorer | str | Path | Callable[[], ClipScorer] | None = None,
) -> dict[str, Metric]:
    """Metrics by name, in the order given, those that need a CLIP with it.

    Args:
        names: names from :data:`METRICS`, Metric objects, or the functions themselves.
        clip: a scorer, the name or folder of a CLIP, or a function that makes the scorer; opened only if
            a metric needs it.

    Raises:
        InputError: for an unknown name, a name given twice, or a CLIP metric without a CLIP.
    """
    wanted = [
        each
        if isinstance(each, Metric)
        else METRICS[checks.name_of("metric", getattr(each, "__name__", each), METRICS)]
        for each in checks.several(names, (str, Metric))
    ]
    titles = [each.name for each in wanted]
    if not wanted:
        raise InputError("no metrics", "at least one", f"Choose from {', '.join(METRICS)}.")
    if len(set(titles)) < len(titles):
        raise InputError(f"a metric twice in {', '.join(titles)}", "distinct names", "Drop one.")
    needing = [each.name for each in wanted if "scorer" in each.needs]
    if needing and clip is None:
        raise InputError(
            f"{needing[0]} without a CLIP",
            "a scorer",
            "Pass clip=ClipScorer.from_pretrained(folder or hub id).",
        )
    scorer = _open(clip) if needing else None
    return {
        each.name: replace(each, compute=partial(each.compute, scorer=scorer))
        if "scorer" in each.needs
        else each
        for each in wanted
    }


def _open(clip: Any) -> Any:
    if isinstance(clip, str | Path):
        return ClipScorer.from_pretrained(clip)
    return clip() if callable(clip) else clip
