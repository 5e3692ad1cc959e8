"""A claim of a paper under test: from the sentence to a verdict, by a rule that was written before the run.

A script of ``analyses/`` is one such claim. Its prompts are split: every choice (channels, block, step, k) is made on
some, and the rule looks at the others alone. The former are also the pilot from which the number of prompts follows.
"""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from ditscope import checks
from ditscope.cache.reader import Cache
from ditscope.edits.edit import Edit
from ditscope.errors import InputError
from ditscope.experiments.compare import compare
from ditscope.experiments.grid import Grid
from ditscope.experiments.sweep import sweep
from ditscope.guidance.from_edits import Guidance
from ditscope.intervals import Interval
from ditscope.metrics.metric import Metric, resolve
from ditscope.models.embedded import EMBEDDED, EMBEDDED_NAMES
from ditscope.passes.rank_channels import rank_channels
from ditscope.passes.ranking import Ranking
from ditscope.paths import local_path
from ditscope.recording.record import record
from ditscope.shapes.prompt_sets import prompts as shapes_prompts
from ditscope.studies.claim_report import draw_claim, tables_of
from ditscope.studies.cost import Work
from ditscope.studies.power import pilot_power, with_effects_found
from ditscope.studies.rule import Rule
from ditscope.studies.scene_prompts import scene_prompts
from ditscope.studies.study import Measured, Progress, Result, Study

if TYPE_CHECKING:
    import os

    from ditscope.models.dit import DiT
    from ditscope.report.page import Report

__all__ = ["Claim", "Evidence", "Finding", "Trial"]


class Finding(NamedTuple):
    """What is known of the method itself, where the truth is known.

    Attributes:
        statement: what was looked at, in a sentence with its numbers.
        trusted: whether the method can be trusted in it; None where it cannot be told, as on a model without a truth.
    """

    statement: str
    trusted: bool | None


class Evidence(NamedTuple):
    """What one trial of a claim measured.

    Attributes:
        quantities: of the rule, by name; as of :meth:`ditscope.studies.rule.Rule.decide`.
        arrays: datasets by name: all that figures draw.
        tables: rows by name; each is also written as CSV.
        validity: whether the method can be trusted.
    """

    quantities: Mapping[str, xr.DataArray | Interval]
    arrays: Mapping[str, xr.Dataset] = {}
    tables: Mapping[str, pd.DataFrame] = {}
    validity: Sequence[Finding] = ()


@dataclass(frozen=True)
class Claim(Study):
    """A claim under test, with its settings.

    Beside ``name`` and ``claim`` a subclass says ``source``, ``design``, ``controls`` and ``rule`` as class attributes,
    and has the methods :meth:`choose` if there is something to choose, :meth:`test`, :meth:`figures` and :meth:`work`.

    Attributes:
        source: paper and section.
        design: what is done, in a paragraph.
        controls: what the effect is held against, and why.
        rule: what result supports the claim, and what refutes it.
        model: an embedded pipeline, a folder, or a hub id.
        n_choosing: prompts on which choices are made; also the pilot.
        n_least: prompts that the rule looks at, at least.
        n_most: and at most, whatever the pilot asks for; the report says what so many find where it asks for more.
        seeds: of each prompt.
        num_inference_steps: denoising steps.
        k: how many channels count as massive.
        batch_size: images generated together.
        prompts: to use in place of the model's own; the first ``n_choosing`` are to choose on.
        prompt_draw: which draw of an embedded model's own prompts, from 1. A design that was written anew after its
            result takes another.
        call: further arguments of the pipeline.
        clip: the CLIP that judges other models' images; an embedded pipeline brings its own.
    """

    source: ClassVar[str]
    design: ClassVar[str]
    controls: ClassVar[Sequence[str]]
    rule: ClassVar[Rule]

    model: str = EMBEDDED
    n_choosing: int = 10
    n_least: int = 40
    n_most: int = 60
    seeds: tuple[int, ...] = (0,)
    num_inference_steps: int = 8
    k: int = 6
    batch_size: int = 20
    prompts: tuple[str, ...] | None = None
    prompt_draw: int = 2
    call: Mapping[str, Any] = field(default_factory=dict)
    clip: str = "openai/clip-vit-large-patch14"

    def __post_init__(self) -> None:
        counts = ("n_choosing", "n_least", "n_most", "num_inference_steps", "k", "batch_size", "prompt_draw")
        for name in counts:
            checks.whole_number(name, getattr(self, name))
        if self.n_least > self.n_most:
            raise InputError(
                f"n_least={self.n_least}, n_most={self.n_most}", "no more at least", "Raise n_most."
            )
        self.prompt_lists()

    def choose(self, trial: Trial) -> dict[str, Any]:
        """What is chosen on the choosing prompts, as JSON values: blocks, steps, k."""
        return {}

    @abstractmethod
    def test(self, trial: Trial, chosen: Mapping[str, Any]) -> Evidence:
        """Measure the rule's quantities on the trial's prompts. It is called for the pilot, too."""

    @abstractmethod
    def figures(self, result: Result) -> Mapping[str, tuple[Figure, str]]:
        """Figures by name, each with its caption, of what was saved."""

    @abstractmethod
    def work(self) -> Work:
        """What the design takes, whatever the model."""

    @property
    def embedded(self) -> bool:
        """Whether the model is an embedded one, of whose images the truth is known."""
        return self.model in EMBEDDED_NAMES

    def prompt_lists(self) -> tuple[list[str], list[str]]:
        """Prompts to choose on, and those, ``n_most`` at most, that the rule looks at: no prompt is in both.

        Raises:
            InputError: too few prompts, or one that comes twice.
        """
        count = self.n_choosing + self.n_most
        if self.prompts is not None:
            every = checks.prompts(self.prompts)
        elif self.embedded:
            choosing = shapes_prompts(self.n_choosing, seed=2 * self.prompt_draw - 1)
            fresh = [
                each for each in shapes_prompts(2 * count, seed=2 * self.prompt_draw) if each not in choosing
            ]
            every = [*choosing, *dict.fromkeys(fresh)]
        else:
            every = scene_prompts(count)
        if len(set(every)) < len(every) or len(every) < self.n_choosing + self.n_least:
            raise InputError(
                f"{len(set(every))} different prompts of {len(every)}",
                f"{self.n_choosing} to choose on and at least {self.n_least} others, each once",
                "Pass more, or lower n_choosing and n_least.",
            )
        return every[: self.n_choosing], every[self.n_choosing : count]

    def measure(self, dit: DiT, folder: Path, progress: Progress) -> Measured:
        """Choose, see by a pilot how many prompts it takes, test, and decide."""
        choosing, others = self.prompt_lists()
        pilot = Trial(self, dit, folder / "pilot", tuple(choosing))
        progress(f"choose on {len(choosing)} prompts")
        chosen = dict(self.choose(pilot))
        progress("pilot: how many prompts does it take?")
        power = pilot_power(self.rule, self.test(pilot, chosen).quantities)
        needed = max((row["prompts_needed"] or 0 for row in power), default=0)
        prompts = others[: min(max(needed, self.n_least), self.n_most)]
        progress(f"test on {len(prompts)} other prompts")
        power = with_effects_found(self.rule, power, len(prompts))
        tested = self.test(
            replace(pilot, folder=folder / "test", prompts=tuple(prompts), pilot=pilot), chosen
        )
        decision = self.rule.decide(tested.quantities)
        per_sample = {
            f"values_{name}": values.to_dataset(name="value")
            for name, values in tested.quantities.items()
            if isinstance(values, xr.DataArray)
        }
        return Measured(
            {
                "verdict": decision.verdict,
                "quantities": list(decision.quantities),
                "rule": self.rule.to_json(),
                "chosen": chosen,
                "power": power,
                "prompts_tested": len(prompts),
                "prompts_needed": max(needed, self.n_least),
                "validity": [each._asdict() for each in tested.validity],
                "tables": {
                    name: json.loads(table.to_json(orient="split")) for name, table in tested.tables.items()
                },
            },
            {**tested.arrays, **per_sample},
            {"choosing_prompts": choosing, "tested_prompts": prompts, "seeds": list(self.seeds)},
        )

    def draw(self, result: Result) -> Report:
        """The report of a saved result."""
        return draw_claim(result)

    @classmethod
    def report(cls, folder: str | os.PathLike[str]) -> Path:
        """As of :meth:`Study.report`; also ``verdict.json`` and the tables as CSV."""
        result = cls.load(folder)
        target = local_path(folder)
        parts = (
            "config",
            "verdict",
            "quantities",
            "rule",
            "chosen",
            "power",
            "prompts_tested",
            "prompts_needed",
        )
        verdict = {"name": cls.name, "claim": cls.claim, "source": cls.source}
        verdict |= {part: result.numbers[part] for part in (*parts, "validity")}
        (target / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n", encoding="utf-8")
        for name, table in tables_of(result).items():
            table.to_csv(target / f"{name}.csv", index=False)
        return super().report(folder)

    def settings(self) -> dict[str, Any]:
        """The settings by name, as JSON takes them."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Trial:
    """One part of a claim, the choosing or the testing: its prompts, and what is made of them, kept in its folder.

    A recording, comparison or sweep that was broken off goes on when it is asked for again.

    Attributes:
        claim: with its settings.
        dit: the model.
        folder: where recordings and sweeps are kept.
        prompts: of this part.
        pilot: the choosing part, for the testing one.
    """

    claim: Claim
    dit: DiT
    folder: Path
    prompts: tuple[str, ...]
    pilot: Trial | None = None

    @property
    def choosing(self) -> Trial:
        """The part on whose prompts choices are made."""
        return self.pilot or self

    @cached_property
    def statistics(self) -> Cache:
        """Statistics of every block's output, image stream, at every step of the choosing prompts."""
        return self.choosing.record("statistics", tensors=False)

    def ranking(self, statistic: str = "mean_abs") -> Ranking:
        """Channels ranked on the choosing prompts."""
        return rank_channels(self.statistics, statistic=statistic)

    def block_at(self, depth: float) -> int:
        """The block at a share of the model's depth, 0 for the first and 1 for the last."""
        return round(depth * (len(self.dit.blocks) - 1))

    def record(self, name: str, **kept: Any) -> Cache:
        """Record the trial's prompts; ``kept`` as of :func:`ditscope.record`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with record(
            self.dit, self.folder / f"{name}.zarr", **{**self._batch, "branches": ["cond"], **kept}
        ) as rec:
            return rec.generate(list(self.prompts), seeds=self.claim.seeds, **self._call)

    def compare(
        self,
        name: str,
        edits: Mapping[str, Edit | Sequence[Edit]],
        metrics: Iterable[str | Metric],
        **more: Any,
    ) -> xr.Dataset:
        """Compare edits on the trial's prompts; ``more`` as of :func:`ditscope.compare`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.sweep"
        given = {**self._batch, **self._scored, **self._call, **more}
        return compare(self.dit, list(self.prompts), self.claim.seeds, edits, metrics, path=path, **given)

    def sweep(self, name: str, grid: Grid, metrics: Iterable[str | Metric], **more: Any) -> xr.Dataset:
        """Sweep a grid on the trial's prompts, keeping no images; ``more`` as of :func:`ditscope.sweep`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.sweep"
        given = {"images": "drop", **self._batch, **self._scored, **self._call, **more}
        return sweep(self.dit, list(self.prompts), self.claim.seeds, grid, metrics, path, **given)

    def images(self, name: str, guidance: Guidance | None = None, **call: Any) -> xr.DataArray:
        """Images of the trial's prompts under a guidance, kept under a name.

        Raises:
            InputError: what is kept under that name was made otherwise.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.npz"
        given = {**self._batch, **self._call, **call}
        made_by = json.dumps(
            [self.dit.name, self.prompts, self.claim.seeds, given, guidance and guidance.to_json()],
            default=str,
        )
        if not path.is_file():
            with guidance or contextlib.nullcontext():
                made = self.dit.generate_images(list(self.prompts), self.claim.seeds, **given)
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(partial, images=made.values, made_by=np.array(made_by))
            partial.rename(path)
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["made_by"]) != made_by:
                raise InputError(
                    f"images at {path} that were made otherwise",
                    "those of this call",
                    "Choose another --out.",
                )
            images = kept["images"]
        samples = [(prompt, seed) for prompt in self.prompts for seed in self.claim.seeds]
        prompts, seeds = zip(*samples, strict=True)
        coords = {
            "sample": range(len(samples)),
            "prompt": ("sample", list(prompts)),
            "seed": ("sample", list(seeds)),
        }
        return xr.DataArray(images, coords, ("sample", "y_pixel", "x_pixel", "rgb"))

    def score(self, images: xr.DataArray, metric: str, reference: xr.DataArray | None = None) -> xr.DataArray:
        """A metric of images as of :meth:`images`, ``[sample]`` with ``prompt``."""
        clip = EMBEDDED if self.claim.embedded else self.claim.clip
        (scorer,) = resolve([metric], clip=clip).values()
        against = {} if reference is None else {"reference": reference.values}
        found = scorer(images.values, prompts=[str(each) for each in images["prompt"].values], **against)
        return images.isel(y_pixel=0, x_pixel=0, rgb=0, drop=True).copy(data=np.asarray(found, dtype=float))

    @property
    def _batch(self) -> dict[str, Any]:
        return {"batch_size": self.claim.batch_size}

    @property
    def _scored(self) -> dict[str, Any]:
        return {} if self.claim.embedded else {"clip": self.claim.clip}

    @property
    def _call(self) -> dict[str, Any]:
        return {"num_inference_steps": self.claim.num_inference_steps, **self.claim.call}
