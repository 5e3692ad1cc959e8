"""Values of a patch out of a cache or a capture: a visit's slice of one block at a time."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import xarray as xr

from ditscope import checks
from ditscope.cache.reader import Cache, open_cache
from ditscope.cache.recorded import Recorded
from ditscope.channels.channel_set import PADDING, ChannelSet
from ditscope.edits.own_sample import own_sample
from ditscope.edits.patch_source import PatchSource, require_tokens
from ditscope.errors import InputError
from ditscope.models.fingerprint import weights_fingerprint
from ditscope.recording.capture import Capture
from ditscope.recording.transfer import from_host

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["RecordedSource"]

MATCHES = ("step", "sigma")
SEED = "seed"

_CAPTURES: weakref.WeakValueDictionary[str, Capture] = weakref.WeakValueDictionary()
"""Captures of this process by digest, so that a plain form finds them again."""


@dataclass(frozen=True, eq=False)
class RecordedSource(PatchSource):
    """A cache or a capture, and which of its samples and steps go where; see :func:`ditscope.edits.patch`.

    Its plain form names a cache by path and configuration hash, and a capture by the digest of its values.

    Attributes:
        path: of the store; None for a capture.
        digest: the store's configuration hash, or the capture's digest.
        sample: one source sample for all, ``"seed"``, None, or source samples ``[sample]``, by the coordinates
            ``prompt`` and ``seed`` where it has those, else by the position of the run's sample.
        match: ``step`` or ``sigma``.
        interpolate: whether values between two of the source's noise levels are interpolated.

    Raises:
        InputError: a sample that the source does not have; a capture that is not there any more.
        CacheError: the store is not there, or is another than it was.
    """

    path: str | None
    digest: str
    sample: xr.DataArray | int | str | None = None
    match: str = "step"
    interpolate: bool = False

    def __post_init__(self) -> None:
        checks.name_of("match", self.match, MATCHES)
        if self.interpolate and self.match == "step":
            raise InputError(
                "interpolate=True with match='step'",
                "match='sigma'",
                "Match by sigma, or do not interpolate.",
            )
        object.__setattr__(self, "sample", _sample_choice(self.sample))
        found = self.recorded.manifest["config_hash"] if isinstance(self.recorded, Cache) else self.digest
        if found != self.digest:
            raise InputError(
                f"another recording at {self.path}",
                f"the one of configuration {self.digest}",
                "Name its path.",
            )
        named = self.sample if isinstance(self.sample, xr.DataArray | int) else ()
        for index in np.atleast_1d(np.asarray(named, dtype=int)).tolist():
            if index not in self.recorded.committed:
                raise InputError(
                    f"sample {index} of a source of samples {_listed(self.recorded.committed)}",
                    "a sample that it has",
                    "Pass another sample=.",
                )

    @classmethod
    def of(cls, source: Any, **choice: Any) -> Self:
        """The source for a cache or a capture.

        Raises:
            InputError: it is neither.
        """
        if isinstance(source, Cache):
            path, digest = str(Path(source.path).resolve()), str(source.manifest["config_hash"])
        elif isinstance(source, Capture):
            path, digest = None, source.digest
            _CAPTURES[digest] = source
        else:
            raise InputError(
                f"a source of type {type(source).__name__}",
                "a cache, a capture, or ds.edits.LockStep",
                "Pass ds.open_cache(path), or what ds.capture returns.",
            )
        return cls(path, digest, **choice)

    @cached_property
    def recorded(self) -> Recorded:
        """The cache or the capture."""
        if self.path is not None:
            return open_cache(self.path)
        if self.digest not in _CAPTURES:
            raise InputError(
                f"a capture of digest {self.digest[:12]}, which is not in memory",
                "a capture of this process",
                "Capture it again and make the patch anew, or record into a store, which a plain form can name.",
            )
        return _CAPTURES[self.digest]

    @property
    def words(self) -> str:
        """Name of the store, or the capture's digest."""
        return f"capture {self.digest[:8]}" if self.path is None else Path(self.path).name

    def own(self, sample: tuple[Any, Any], position: int) -> int:
        """The source sample that a sample (prompt, seed) of the run at a position takes.

        Raises:
            InputError: it is not there, or not the only one.
        """
        if isinstance(self.sample, int):
            return self.sample
        if isinstance(self.sample, xr.DataArray):
            return int(self.sample[own_sample(self.sample, sample, position, "source samples")])
        committed, specs = self.recorded.committed, self.recorded.specs
        seed_alone = self.sample == SEED
        found = [
            index
            for index in committed
            if specs[index].seed == sample[1] and (seed_alone or specs[index].prompt == str(sample[0]))
        ]
        if not found and not seed_alone and len(committed) == 1:
            return committed[0]
        if len(found) != 1:
            raise InputError(
                f"{len(found) or 'none'} of {len(committed)} source samples of "
                + f"{str(sample[0])!r} with " * (not seed_alone)
                + f"seed {sample[1]}",
                "one",
                "Say with sample= which one it takes: an index, or one for each sample of the run.",
            )
        return found[0]

    def steps_at(self, step: int, sigma: float) -> tuple[int, int, float]:
        """The source's step at a step of the run; or two, and how far from the first to the second it is.

        Raises:
            InputError: the source has no such step, or its noise level is another, and steps are not matched by it.
        """
        known = {each.index: each.sigma for each in self.recorded.schema.steps}
        if self.match == "step":
            if step not in known:
                raise InputError(
                    f"step {step} of the run, and a source of steps {_listed(known)}",
                    "every step on which the edit acts",
                    "Narrow steps=, or match='sigma'.",
                )
            if not math.isclose(known[step], sigma, rel_tol=1e-5, abs_tol=1e-8):
                raise InputError(
                    f"sigma {known[step]:.6g} of the source at step {step}, and {sigma:.6g} of the run",
                    "one noise level",
                    "Make the source with the run's number of steps and size, or match='sigma'.",
                )
            return step, step, 0.0
        near = sorted(known, key=lambda each: (abs(known[each] - sigma), each))
        if not self.interpolate:
            return near[0], near[0], 0.0
        above = min((each for each in known if known[each] >= sigma), key=known.__getitem__, default=near[0])
        below = max((each for each in known if known[each] <= sigma), key=known.__getitem__, default=near[0])
        gap = known[below] - known[above]
        return above, below, (sigma - known[above]) / gap if gap and above != below else 0.0

    def check(self, edit: Edit, dit: DiT) -> None:
        """Refuse another model, and a stream, site, block, channel or token that was not recorded.

        Raises:
            InputError: naming it.
        """
        recorded, scope = self.recorded, edit.scope
        schema = recorded.schema
        own, theirs = weights_fingerprint(dit), recorded.config.get("weights_fingerprint")
        if theirs != own:
            raise InputError(
                f"a source of {recorded.config.get('model', 'an unknown model')} (weights {str(theirs)[:12]})",
                f"one of the model that runs, {dit.name} (weights {own[:12]})",
                "Record the source with this model.",
            )
        sites = [(site.stream, site.name) for site in schema.sites]
        if (scope.stream, scope.site) not in sites:
            raise InputError(
                f"a source of {', '.join(' '.join(pair) for pair in sites)}",
                f"{scope.stream} {scope.site}, where the edit acts",
                "Record it too, with streams= and sites=.",
            )
        site = recorded.site_with_values(scope.stream, scope.site)
        if site.has_tokens and not schema.stream(scope.stream).keeps_all:
            raise InputError("a source of some tokens", "all tokens", "Record it without tokens=.")
        missing = [block.name for block in edit.chosen(dit.blocks) if block.index not in site.blocks]
        if missing:
            raise InputError(
                f"a source without block {_listed(missing)}",
                "every block on which the edit acts",
                "Record these blocks too, or narrow blocks=.",
            )
        chosen = edit.channels
        named = np.unique(chosen.ids) if isinstance(chosen, ChannelSet) else np.arange(dit.width)
        lacking = sorted({int(channel) for channel in named} - {*schema.channels, PADDING})
        if lacking:
            raise InputError(
                f"a source without channel {_listed(lacking)}",
                "every channel on which the edit acts",
                "Record all channels, or name those that it has.",
            )

    def check_call(self, edit: Edit, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse other sizes, branches, steps, noise levels and samples than the source has.

        Raises:
            InputError: naming them.
        """
        schema, scope = self.recorded.schema, edit.scope
        stream = schema.stream(scope.stream)
        grid = (stream.grid_height, stream.grid_width)
        if stream.has_grid and grid != probe.grid:
            raise InputError(
                f"a source of {grid[0]} x {grid[1]} tokens",
                f"{probe.grid[0]} x {probe.grid[1]}, as the run has",
                "Make both of one height and width.",
            )
        n_tokens = probe.tokens.get(scope.stream, stream.tokens)
        if not (stream.has_grid or dit.family.text_length_varies or stream.tokens == n_tokens):
            raise InputError(
                f"a source of {stream.tokens} {scope.stream} tokens",
                f"{n_tokens}, as the run has",
                "Make both alike.",
            )
        acting = [b for b in probe.schedule.branches if scope.branches is None or b in scope.branches]
        lacking = [branch for branch in acting if branch not in schema.branches]
        if lacking:
            raise InputError(
                f"a source of branch {' and '.join(schema.branches)}",
                f"branch {lacking[0]} too, on which the edit acts",
                f"Record the source with guidance, or pass branches={list(schema.branches)!r}.",
            )
        steps = probe.schedule.steps
        for step, sigma in zip(steps, probe.schedule.sigmas, strict=True):
            if scope.has_step(step, sigma, steps):
                self.steps_at(step, sigma)
        for position, sample in enumerate(chain(*batches)):
            self.own(sample, position)

    def values(self, context: EditContext) -> torch.Tensor:
        """What was recorded at this place of the source sample of each row, float32 ``[row, token, channel]``."""
        rows = [self.own(*each) for each in zip(context.samples, context.positions, strict=True)]
        distinct = sorted(set(rows))
        above, below, share = self.steps_at(context.visit.step, context.visit.sigma)
        values = self._read(context, distinct, above)
        if share:
            values = values + share * (self._read(context, distinct, below) - values)
        order = [distinct.index(row) for row in rows]
        if values.ndim == 2:  # modulation
            return values[order][:, None]
        if not self.recorded.schema.stream(context.stream).has_grid:
            real = self._real(context.stream, tuple(rows), context.branch)
            require_tokens(context, real, f"the source, {self.words}")
        return values[order][:, context.tokens.clamp(max=values.shape[1] - 1)]

    def _read(self, context: EditContext, samples: Sequence[int], step: int) -> torch.Tensor:
        read = self.recorded.values_at(
            context.stream,
            context.site,
            samples=samples,
            step=step,
            branch=context.branch,
            block=context.block.index,
            channels=context.channels.tolist(),
        )
        return from_host(read).to(context.old.device).float()

    def _real(self, stream: str, samples: tuple[int, ...], branch: str) -> torch.Tensor:
        """Which tokens of a text are real, bool ``[sample, token]``, read once."""
        key = (stream, samples, branch)
        if key not in self._masks:
            self._masks[key] = torch.from_numpy(self.recorded.token_mask(stream, samples, branch))
        return self._masks[key]

    @cached_property
    def _masks(self) -> dict[tuple[str, tuple[int, ...], str], torch.Tensor]:
        return {}


def _sample_choice(given: Any) -> xr.DataArray | int | str | None:
    """What ``sample=`` says, in its one form.

    Raises:
        InputError: it says something else.
    """
    if given is None or (isinstance(given, str) and given == SEED):
        return given
    if checks.is_whole(given):
        return int(given)
    if isinstance(given, Mapping) and all(isinstance(key, tuple) and len(key) == 2 for key in given):
        prompts, seeds = zip(*given, strict=True) if given else ((), ())
        labels = {"prompt": ("sample", [str(prompt) for prompt in prompts]), "seed": ("sample", list(seeds))}
        given = xr.DataArray(list(given.values()), dims="sample", coords=labels)
    elif isinstance(given, list | tuple | range | np.ndarray):
        given = xr.DataArray(np.asarray(given), dims="sample" if np.ndim(given) == 1 else None)
    if (
        not isinstance(given, xr.DataArray)
        or given.dims != ("sample",)
        or not np.issubdtype(given.dtype, np.integer)
    ):
        raise InputError(
            f"sample={given!r}",
            "a source sample, one for each sample of the run, {(prompt, seed): source sample}, 'seed' or None",
            "Pass sample=0, say.",
        )
    return given


def _listed(items: Any) -> str:
    several = list(map(str, items))
    return ", ".join(several[:12]) + ", ..." * (len(several) > 12)
