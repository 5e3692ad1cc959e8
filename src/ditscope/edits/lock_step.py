"""Values of a patch out of the same run: other images of the batch, at the same visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditscope.edits.patch_source import PatchSource, require_tokens
from ditscope.errors import InputError

if TYPE_CHECKING:
    from ditscope.edits.context import EditContext
    from ditscope.edits.edit import Edit
    from ditscope.models.dit import DiT
    from ditscope.tracing.batches import Batches
    from ditscope.tracing.probe import Probe

__all__ = ["LockStep"]


@dataclass(frozen=True, eq=False)
class LockStep(PatchSource):
    """Source and target in one batch, step by step: nothing is kept, and sizes and noise levels are the same.

    A sample that is named takes the values of its source, which is another sample of the same batch; the other
    samples, the sources among them, run as they would. So the prompts of the sources are prompts of the run, and
    batches are large enough to hold both.

    Attributes:
        pairs: (prompt, seed, prompt of the source, seed of the source); without seeds, of every seed. It may be
            given as a mapping prompt -> prompt of the source, or (prompt, seed) -> (prompt, seed) of the source.

    Raises:
        InputError: it says something else, or names no sample.

    Examples:
        >>> move = ds.edits.patch(ds.edits.LockStep({prompts[0]: prompts[1]}), massive)
        >>> moved = ds.compare(dit, prompts[:2], 0, move, ["psnr"], batch_size=2, num_inference_steps=2)
    """

    pairs: tuple[tuple[str, int | None, str, int | None], ...] | Mapping[Any, Any]

    def __post_init__(self) -> None:
        if isinstance(self.pairs, Mapping):
            listed = tuple((*_sample(target), *_sample(source)) for target, source in self.pairs.items())
            object.__setattr__(self, "pairs", listed)
        if not self.pairs or any((pair[1] is None) != (pair[3] is None) for pair in self.pairs):
            raise InputError(
                f"pairs {self.pairs!r}",
                "prompt -> prompt of the source, or (prompt, seed) -> (prompt, seed) of the source",
                "Pass LockStep({'a red circle': 'a blue star'}), say.",
            )

    @property
    def words(self) -> str:
        """``lock step``."""
        return "lock step"

    def source_of(self, sample: tuple[Any, Any]) -> tuple[str, Any] | None:
        """The (prompt, seed) whose values a sample takes; None for one that is left alone."""
        prompt, seed = str(sample[0]), sample[1]
        for target, its_seed, source, source_seed in self.pairs:
            if target == prompt and its_seed in (None, seed):
                return source, seed if source_seed is None else source_seed
        return None

    def acts_on(self, sample: tuple[Any, Any]) -> bool:
        """Whether a sample is named as one that takes values."""
        return self.source_of(sample) is not None

    def check_call(self, edit: Edit, dit: DiT, probe: Probe, batches: Batches) -> None:
        """Refuse a run without a sample that is named, or without its source in the same batch.

        Raises:
            InputError: naming it.
        """
        named = [[(str(prompt), seed) for prompt, seed in batch] for batch in batches]
        known = [sample for batch in named for sample in batch]
        sources = [source for source in map(self.source_of, known) if source is not None]
        missing = [source for source in sources if source not in known]
        if known and (missing or not sources):
            raise InputError(
                f"a run without {missing[0] if missing else self.pairs[0][:2]}",
                "every sample that the patch names, and its source",
                "Add its prompt to the prompts.",
            )
        for batch in named:
            for sample in batch:
                self._require_beside(sample, batch)

    def values(self, context: EditContext) -> torch.Tensor:
        """What is at this place in the row of each row's source, float32 ``[row, token, channel]``.

        Raises:
            InputError: the source is in another batch.
        """
        known = [(str(prompt), seed) for prompt, seed in context.samples]
        rows = []
        for row, sample in enumerate(known):
            source = self._require_beside(sample, known)
            rows.append(row if source is None else known.index(source))
        if context.real is not None:
            require_tokens(context, context.real[rows].cpu(), "its source")
        return context.hidden[rows][:, context.tokens][:, :, context.channels].float()

    def _require_beside(
        self, sample: tuple[str, Any], batch: Sequence[tuple[str, Any]]
    ) -> tuple[str, Any] | None:
        """The source of a sample, which is in its batch; None for one that is left alone."""
        source = self.source_of(sample)
        if source is not None and source not in batch:
            raise InputError(
                f"{source[0]!r} with seed {source[1]}, which is not in the batch of {sample[0]!r}",
                "both in one batch",
                f"Raise batch_size above {len(batch)}, or order prompts and seeds so that both fall in one.",
            )
        return source


def _sample(given: Any) -> tuple[str, int | None]:
    prompt, seed = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    return str(prompt), seed
