"""``RunState``: the run in progress, or the last one, in one object that blocks, visits and refusals take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ditscope.encoded_text import EncodedText
from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_diffusers import compute_device
from ditscope.models._internals.of_nnsight import EarlyStop, is_open
from ditscope.models.pipeline_call import Sample, complete_call, samples_of, signature_defaults
from ditscope.models.refusals import refuse_unmapped
from ditscope.models.replaced_modules import refuse_changed, refuse_replaced
from ditscope.models.schedule import GlobalNoise, global_noise, require_seeded
from ditscope.models.text_encoding import encoded_texts, watched_tokenizers
from ditscope.models.text_tokens import TextsPassed
from ditscope.models.transformer_inputs import TransformerInputs

if TYPE_CHECKING:
    from ditscope.models.family import Family
    from ditscope.models.visit_progress import VisitProgress
    from ditscope.models.visits import Schedule

GUIDANCE: ContextVar[Any] = ContextVar("guidance", default=None)
"""The guidance of the ``with`` block in which a run is made, until the run has taken it."""


class RunState:
    """A pipeline's run: its call, its visits, and how far it has come.

    Attributes:
        family: what is known of the transformer.
        defaults: call arguments that are filled in where a call leaves them out.
        modules_replaced: whether modules were replaced since the pipeline was opened.
        n_persistent_edits: how many edits nnsight makes in every run.
        call: the arguments of the run, completed.
        samples: (prompt, seed) of every image, in the order of the rows of one branch; None for what is not known.
        n_visits: visits begun in the run in progress, or made in the last one.
        skips: index of a block -> forwards of the run in which something took the place of computing it.
        n_forwards: forwards of the transformer begun so far: one for each visit that is not skipped, and those that a
            visit repeats.
        inputs: what the transformer is passed at the visit in progress, or at the last one.
        texts: what the text encoders were given of each prompt, once the run is over; None for what is not known.
        progress: how far the loop over the visits has come; None before its first visit, and without a loop.
        noise_before: torch's own generators when the run in progress, or the last one, began.
    """

    inputs: TransformerInputs
    noise_before: GlobalNoise

    def __init__(self, family: Family, defaults: Mapping[str, Any]) -> None:
        self.family, self.defaults = family, dict(defaults)
        self.call: dict[str, Any] = {}
        self.samples: list[Sample] = []
        self.n_visits = self.n_forwards = self.n_persistent_edits = 0
        self.skips: Counter[int] = Counter()
        self.modules_replaced = False
        self.progress: VisitProgress | None = None
        self._modules: dict[str, torch.nn.Module] = {}
        self.texts: list[EncodedText | None] = []
        self._text_lengths: list[int] | None = None
        self._texts_passed: list[tuple[int, torch.Tensor | None]] = []
        self._running = self._is_read = self._refusals_made = False
        self._pipeline: Any = None

    def open(self, pipeline: Any) -> None:
        """Take up a pipeline that was loaded.

        Raises:
            UnsupportedError: its transformer is open already, or it or a block does not run as diffusers wrote it.
        """
        if is_open(pipeline.transformer):
            raise UnsupportedError(
                f"a {type(pipeline).__name__} whose transformer is open already",
                "one model to a transformer, as runs of two would mix",
                "Use that model, or close it first with dit.close().",
            )
        refuse_replaced(self.family, pipeline.transformer)
        self._pipeline = pipeline

    def close(self) -> None:
        """Let go of the pipeline.

        Raises:
            UnsupportedError: it is in a run.
        """
        if self._running:
            raise UnsupportedError("close() in a run", "it after the run", "Leave the run first.")
        self._pipeline, self._modules = None, {}

    @property
    def pipeline(self) -> Any:
        """The diffusers pipeline.

        Raises:
            UnsupportedError: the model was closed.
        """
        if self._pipeline is None:
            raise UnsupportedError(
                "a model that was closed", "one that is open", "Open its pipeline again with ds.load(pipe)."
            )
        return self._pipeline

    @property
    def schedule(self) -> Schedule:
        """The visits that are expected of a run whose visits are read."""
        assert self.progress is not None, "no visit was read"
        return self.progress.schedule

    @property
    def width(self) -> int:
        """Hidden width: the number of channels."""
        return self.family.channels(self.pipeline.transformer.config)

    def full_call(self, call: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A call's arguments, or the run's, with the pipeline's own defaults and the entries of its config."""
        given = self.call if call is None else {**self.defaults, **call}
        return {**self.pipeline.config, **signature_defaults(type(self.pipeline)), **given}

    @contextmanager
    def begun(self, call: Mapping[str, Any], seed: int | None) -> Iterator[None]:
        """The run of a call: the pipeline is called inside.

        Raises:
            UnsupportedError: the model is in a run already, or in a ``with`` block of a guidance that the run does
                not take; or its visits are read, and it is in a state that breaks their mapping, draws noise that
                the call's seeds do not decide, or a module that is read is replaced on the way.
            VisitError: the run made more or fewer visits than were read, or a visit's body ended in a later visit.
        """
        if self._running:
            raise UnsupportedError(
                "a second run on a model that is in a run",
                "one run at a time, in one thread",
                "Wait for the first, or load the model twice.",
            )
        if GUIDANCE.get() is not None:
            raise UnsupportedError(
                f"a run in a with block of {GUIDANCE.get()!r} that does not take it",
                "dit.generate_images in the block",
                "Move the run out of the block, or pass ds.guidance.GuidedVisit to run_traced as at_visit.",
            )
        self._running, self._refusals_made = True, False
        self.progress, self.texts, self._text_lengths, self._texts_passed = None, [], None, []
        self.n_visits = self.n_forwards = 0
        self.skips.clear()
        try:
            self.call = complete_call(self.pipeline, call, self.defaults, seed)
            self.samples = samples_of(self.call)  # before the run draws from the generators
            if self._is_read:
                self._refuse_unmapped()
            self.noise_before = global_noise(compute_device(self.pipeline))
            with self.pipeline.transformer.register_forward_pre_hook(self._begin_visit, with_kwargs=True):
                try:
                    with watched_tokenizers(self.pipeline) as watched:
                        yield
                    self.texts = self._encoded_texts(watched)
                except BaseException as error:
                    # A pipeline puts its networks back at its end only; a stopped run must not fill the device.
                    self.pipeline.maybe_free_model_hooks()
                    if isinstance(error, EarlyStop) and self.progress is not None:
                        self.progress.require_left_in_time()
                    raise
        finally:
            self._running = self._is_read = False
        if self.progress is not None:
            refuse_changed(self._modules, self.family, self.pipeline.transformer)
            self.progress.require_complete(self.n_visits, getattr(self.pipeline, "interrupt", False))

    @contextmanager
    def read(self) -> Iterator[None]:
        """While the visits of a run are read: refuses, once, a run in which they would not be what they are called.

        nnsight starts what is written in a trace before the model, so the refusal comes before the run computes
        anything; where the visits are asked for later, it comes then.

        Raises:
            UnsupportedError: as of :func:`ditscope.models.refusals.refuse_unmapped`.
        """
        self._is_read = True
        try:
            if self._running:
                self._refuse_unmapped()
            yield
        finally:
            self._is_read = False

    def _encoded_texts(self, watched: Mapping[str, Any]) -> list[EncodedText | None]:
        if self.call.get("prompt_embeds") is not None:  # what was tokenized is the negative prompt alone
            return [None] * len(self.samples)
        n_images = self.call.get("num_images_per_prompt") or 1  # those of one prompt follow each other
        prefix = self.family.text_prefix
        lengths = None if self._text_lengths is None else self._text_lengths[::n_images]
        taken = 0 if prefix is None else getattr(self.pipeline, prefix)
        texts = encoded_texts(watched, len(self.samples) // n_images, lengths, taken)
        passed = TextsPassed(
            self._texts_passed, self.family.guidance.visited(self.full_call()), len(texts), n_images
        )
        named = [
            text and replace(text, tokens=passed.tokens(self.family, watched, prompt, taken))
            for prompt, text in enumerate(texts)
        ]
        return [text for text in named for _ in range(n_images)]

    def _refuse_unmapped(self) -> None:
        if not self._refusals_made:
            self._modules = refuse_unmapped(self, self.call)
            self._refusals_made = True

    def _begin_visit(self, transformer: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self.n_visits += 1
        self.n_forwards += 1
        if self.n_visits == 1 and self._is_read and self.call.get("generator") is not None:
            require_seeded(self.pipeline, self.noise_before, started=False)
        before = getattr(self, "inputs", None)
        self.inputs = TransformerInputs(self.family, transformer, (args, kwargs), before)
        if self.n_visits <= len(self.family.guidance.branches):
            self._texts_passed.append(self.inputs.text_passed)
        if self.n_visits == 1 and self.family.text_prefix is not None:  # the first visit is of the prompts
            mask, rows = self.inputs.text_mask, len(self.samples)
            self._text_lengths = (
                [self.inputs.text_tokens] * rows if mask is None else mask.sum(dim=1).tolist()
            )
