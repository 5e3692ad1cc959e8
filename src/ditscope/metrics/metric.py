"""What a metric is, and the metrics there are, each registered where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from ditscope import checks
from ditscope.errors import InputError, unknown_name
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
    "positions": "where each image is among all samples; without them, the images are all samples in order",
}
"""What a metric may need beside images, by the names of its function's parameters. One whose first is ``latents``
needs no images."""


@dataclass(frozen=True)
class Metric:
    """A number for each image, or one for a set of images, and what a comparison has to know about it.

    Attributes:
        name: its name in a comparison.
        label: what to write on an axis.
        compute: function of images ``[image, y, x, rgb]`` and what else it needs, as parameters without a default:
            any of :data:`INPUTS`. It returns ``[image]``. Parameters with a default are options.
        unit: such as ``dB``; empty where it has none.
        damage: whether a ``higher`` or a ``lower`` value means more damage; ``either`` where a change
            both ways is one.
        binary: whether every value is 0 or 1, which intervals of few prompts have to know.
        distance: of a metric over a set: function of the features of two sets, ``[image, feature]`` each, that gives
            one number. ``compute`` returns the features then.
        least: fewest images of a set that give a number worth having.
        opens: function of any of the options, and of ``prompts``, that is called before a comparison generates images:
            it opens the model that the metric needs, and keeps it, or refuses.
        made_of: what beside its name tells it from others, such as the digest of a mask: a sweep goes on with a store
            of the same only. It stands for what the function's code writes into, such as a dict in which it keeps what
            it has computed; without it a store refuses such a metric, before the run.

    Raises:
        InputError: the function needs something else.

    Examples:
        >>> of_luma = ds.metrics.METRICS["ssim"].with_options(space="luminance")
        >>> of_luma.name, of_luma.needs
        ("ssim(space='luminance')", ('reference',))
    """

    name: str
    label: str
    compute: Callable[..., np.ndarray]
    unit: str = ""
    damage: Damage = "either"
    binary: bool = False
    distance: Callable[[np.ndarray, np.ndarray], float] | None = None
    least: int = 1
    opens: Callable[..., object] | None = None
    made_of: str = ""

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
    def options(self) -> dict[str, Any]:
        """Its options with the values that they have."""
        parameters = inspect.signature(self.compute).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not each.empty}

    @property
    def over(self) -> str:
        """What it is a number of: an ``image``, or a ``set`` of images, which is compared with the baseline's."""
        return "image" if self.distance is None else "set"

    @property
    def of_images(self) -> bool:
        """Whether it judges images; else it judges latents, for which nothing has to be decoded."""
        return next(iter(inspect.signature(self.compute).parameters)) != "latents"

    @property
    def paired(self) -> bool:
        """Whether it compares with the baseline; else it judges what there is by itself."""
        return self.over == "set" or not {"reference", "reference_latents"}.isdisjoint(self.needs)

    @property
    def better(self) -> str:
        """Which direction is better: ``higher``, ``lower``, or ``either`` where that is not said."""
        return {"higher": "lower", "lower": "higher"}.get(self.damage, "either")

    def with_options(self, **options: Any) -> Metric:
        """The metric with other values of its options, which become part of its name: ``ssim(space='luminance')``.

        In its label they take the place of what is in brackets.

        Raises:
            InputError: it has no such option.
        """
        for name in options:
            if name not in self.options:
                raise unknown_name(f"option of {self.name}", name, self.options)
        words = f"({', '.join(f'{name}={value!r}' for name, value in options.items())})"
        label = f"{self.label.partition(' (')[0]} {words}"
        return replace(self, name=self.name + words, label=label, compute=partial(self.compute, **options))

    def open(self, prompts: Sequence[str] = ()) -> Any:
        """Open what it needs, so that what is absent is known before a run; the model that it opens, if it is one.

        Raises:
            DitscopeError: a model or a library is not there, or it cannot judge images of these prompts.
        """
        if self.opens is None:
            return None
        known = {**self.options, "prompts": prompts}
        return self.opens(**{name: known[name] for name in inspect.signature(self.opens).parameters})

    def __call__(self, images: Any, **inputs: Any) -> Any:
        """The metric of images ``[image, y, x, rgb]``: float64 ``[image]``, or one number of a set.

        Args:
            images: the images; of a metric of latents, None will do.
            **inputs: any of :data:`INPUTS`; what it does not need is left aside.

        Raises:
            InputError: without something that it needs, with fewer images than a set has to have, or where its function
                does not return one number an image.
        """
        if self.distance is None:
            return self._computed(images, inputs, 1)
        self.require_enough(len(images))
        if inputs.get("reference") is None:
            raise InputError(f"no reference for {self.name}", INPUTS["reference"], "Pass reference=.")
        one, other = (self.features(each, **inputs) for each in (images, inputs["reference"]))
        return float(self.distance(one, other))

    def features(self, images: Any, **inputs: Any) -> np.ndarray:
        """Of a metric over a set: what it compares sets by, float64 ``[image, feature]``."""
        return self._computed(images, inputs, 2)

    def require_enough(self, images: int) -> None:
        """Refuse a set of too few images.

        Raises:
            InputError: there are fewer than ``least``.
        """
        if images < self.least:
            raise InputError(
                f"{images} images for {self.name}",
                f"at least {self.least}, under which its number says more of how many there are than of what they show",
                "Take more prompts or seeds, or a metric that gives a number for each image.",
            )

    def _computed(self, images: Any, inputs: Mapping[str, Any], dims: int) -> np.ndarray:
        needs = self.needs
        judged = (stacked(images),) if self.of_images else ()
        if "positions" in needs and judged and inputs.get("positions") is None:
            self.open([""] * len(judged[0]))  # which sees that they are all
            inputs = {**inputs, "positions": range(len(judged[0]))}
        for need in needs:
            if inputs.get(need) is None:
                raise InputError(f"no {need} for {self.name}", INPUTS[need], f"Pass {need}=.")
        count = len(judged[0] if judged else inputs["latents"])
        found = np.asarray(self.compute(*judged, **{need: inputs[need] for need in needs}), dtype=float)
        if found.ndim != dims or len(found) != count:
            each = "number" if dims == 1 else "row of features"
            raise InputError(
                f"scores of shape {found.shape} from {self.name}",
                f"one {each} for each of {count} {'images' if judged else 'samples'}",
                "Reduce over everything else.",
            )
        return found


_registered: dict[str, Metric] = {}

METRICS: Mapping[str, Metric] = MappingProxyType(_registered)
"""Every registered metric by its name."""


def register(metric: Metric) -> Metric:
    """Make a metric known by its name; one of the same module takes the place of what it registered before.

    Raises:
        InputError: another module has a metric of this name.

    Examples:
        >>> def darkness(images):
        ...     return 255 - images.mean(axis=(1, 2, 3))
        >>> darkness = ds.metrics.register(ds.metrics.Metric("darkness", "mean darkness", darkness, "levels"))
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
    label: str, *, unit: str = "", damage: Damage = "either", name: str | None = None, **more: Any
) -> Callable[[Score], Score]:
    """Decorator that registers a function as a :class:`Metric`, by its own name unless ``name`` is given.

    ``more`` are further fields of it.

    Examples:
        >>> @ds.metrics.metric("mean red", unit="levels", damage="either")
        ... def redness(images):
        ...     return images[..., 0].mean(axis=(1, 2))
        >>> ds.metrics.METRICS["redness"](cache.images).shape
        (4,)
    """

    def registering(compute: Score) -> Score:
        register(Metric(name or compute.__name__, label, compute, unit, damage, **more))
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

    Examples:
        >>> list(ds.metrics.resolve(["psnr", "ssim"]))
        ['psnr', 'ssim']
    """
    wanted = [_metric_of(each) for each in checks.several(names, (str, Metric))]
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


def _metric_of(given: Any) -> Metric:
    if isinstance(given, Metric):
        return given
    name = getattr(given, "__name__", given)
    if callable(given) and name not in METRICS:
        raise InputError(
            f"the function {name} as a metric",
            "a Metric, which says its unit and what counts as damage",
            f"Pass ds.metrics.Metric({name!r}, 'what to write on an axis', {name}), or register it.",
        )
    return METRICS[checks.name_of("metric", name, METRICS)]


def _open(clip: Any) -> Any:
    if isinstance(clip, str | Path):
        return ClipScorer.from_pretrained(clip)
    return clip() if callable(clip) else clip
