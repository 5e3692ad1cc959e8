"""``DiT``: a text-to-image pipeline on nnsight whose transformer's blocks have names and streams."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch

from ditscope.errors import not_copied
from ditscope.models._internals.of_diffusers import compute_device
from ditscope.models._internals.of_nnsight import OpenedPipeline
from ditscope.models.block import Block
from ditscope.models.blocks import Blocks
from ditscope.models.family import Family
from ditscope.models.pipeline import CallablePipeline, ClosedPipeline
from ditscope.models.pipeline_call import call_defaults
from ditscope.models.pipeline_folder import hidden_prompts
from ditscope.models.run_state import RunState
from ditscope.models.visits import Visit, visits

if TYPE_CHECKING:
    import xarray as xr

    from ditscope.checking.report import CheckReport


class DiT(OpenedPipeline):
    """A text-to-image Diffusion Transformer, opened for interpretability.

    Everything of nnsight's ``DiffusionModel`` works on it (``trace``, ``generate``, ``session``); on top of that
    it knows its blocks and its visits.

    A pipeline in memory works by itself again after :meth:`close`, or after ``with ds.load(pipe) as dit:``.
    Modules that are replaced after it was opened, as loading and unloading a LoRA do it, are followed at the next
    run; blocks stay the objects that they are. While nnsight keeps edits (``edit``), visits are not read.

    Attributes:
        name: what the model was opened by, or what a pipeline in memory is called.
        run_state: the run in progress, or the last one: its call, its visits, what the transformer is passed.
        blocks: the transformer's blocks in execution order, by position or name: ``dit.blocks["single.5"]``.

    Examples:
        >>> with dit.generate(prompts[0], seed=0, num_inference_steps=2) as tracer:
        ...     for visit in dit.visits(tracer):
        ...         for block in dit.blocks:
        ...             block.image[:, :, 7] = 0
        ...     out = tracer.result.save()
    """

    name: str
    run_state: RunState
    blocks: Blocks

    def __init__(self, source: Any, *, name: str, family: Family, **kwargs: Any) -> None:
        in_memory = not isinstance(source, str)
        folder, called = (
            (source.name_or_path, type(source)) if in_memory else (source, kwargs.get("automodel"))
        )
        self.name, self.run_state = name, RunState(family, call_defaults(folder, called))
        paths = {f"model.transformer.{blocks.path}.*": Block for blocks in family.block_lists}
        super().__init__(source, envoys=paths, **kwargs)
        self.blocks = self._described_blocks()

    def callable_module(self) -> CallablePipeline:
        """The module through which nnsight calls the pipeline."""
        self.run_state.open(self.pipeline)
        return CallablePipeline(self.run_state)

    def close(self) -> None:
        """Give the pipeline back as it was: its modules' forwards, without anything of this model's on them.

        What its owner has set on it meanwhile stays. A closed model refuses further use.

        Raises:
            UnsupportedError: the model is in a run.

        Examples:
            >>> with ds.load("shapes") as other:
            ...     images = other.generate_images(prompts[0], num_inference_steps=1)
        """
        if self.pipeline is not None:
            self.run_state.close()
            self.let_go(ClosedPipeline(self.run_state))
            del self.blocks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and isinstance(self.__dict__.get("_module"), ClosedPipeline):
            return self.run_state.pipeline  # refused
        return super().__getattr__(name)

    def before_run(self) -> None:
        """Follow the pipeline as it is now: its modules, and the edits that nnsight keeps.

        Raises:
            UnsupportedError: one module had two places, and has been replaced in one of them.
        """
        self.run_state.n_persistent_edits = self.n_persistent_edits
        if self.follow(CallablePipeline(self.run_state)):
            self.blocks = self._described_blocks()
            self.run_state.modules_replaced = True

    @property
    def family(self) -> Family:
        """What is known of this kind of transformer."""
        return self.run_state.family

    @property
    def diffusers_pipeline(self) -> Any:
        """The diffusers pipeline underneath; it is refused once the model is closed."""
        return self.run_state.pipeline

    @property
    def device(self) -> torch.device:
        """Where the pipeline computes, which offloading makes another place than where weights are kept.

        nnsight moves the tensors of a call there.
        """
        return compute_device(self.diffusers_pipeline)

    @property
    def call_defaults(self) -> Mapping[str, Any]:
        """Pipeline arguments that are filled in where a call leaves them out."""
        return self.run_state.defaults

    def full_call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """A call's arguments with the pipeline's own defaults, and the entries of the pipeline's config."""
        return self.run_state.full_call(call)

    @property
    def width(self) -> int:
        """Hidden width: the number of channels."""
        return self.run_state.width

    @property
    def dtype(self) -> torch.dtype:
        """The transformer's floating type."""
        return self.diffusers_pipeline.transformer.dtype

    @property
    def token_pixels(self) -> int:
        """Image pixels along one edge of an image token."""
        return int(self.diffusers_pipeline.vae_scale_factor) * self.family.token_pixels

    def image_size(self, call: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) in pixels that a call asks for, with the pipeline's defaults."""
        pipeline, full_call = self.diffusers_pipeline, self.full_call(call)
        latent_edge = (
            getattr(pipeline, "default_sample_size", None) or pipeline.transformer.config.sample_size
        )
        default = latent_edge * pipeline.vae_scale_factor
        return int(full_call.get("height") or default), int(full_call.get("width") or default)

    def visits(self, tracer: Any) -> Iterator[Visit]:
        """The visits of the run being traced, in order, each with its step and branch.

        Inside the loop's body, read and write blocks in execution order (``block_input`` before
        ``block_output``); statements after the loop run when the last visit is over. Leave the loop with
        ``break`` or ``tracer.stop()`` as you like, and write the call in the ``for`` statement itself: a
        loop over an iterator that has a name cannot be seen to be left.

        Args:
            tracer: what ``with dit.generate(...) as tracer`` gives.

        Yields:
            One :class:`~ditscope.models.visits.Visit` for each call of the transformer.

        Raises:
            VisitError: a visit does not match the scheduler's step clock; or a body ends in a later visit
                than its own, or the run before the loop, as when blocks are asked for out of order.
            UnsupportedError: step caching, skip-layer guidance, compiled or replaced blocks, or a scheduler of
                higher order; before the run computes anything.
        """
        return visits(self.run_state, self.transformer, tracer)

    def skip_visit(self, output: Any) -> None:
        """Let the transformer return ``output``, in its own form, in the visit in progress, and compute nothing."""
        self.run_state.n_forwards -= 1
        self.transformer.skip(output)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise not_copied("an opened model", "Pass its name, and open it there by ds.load(name).")

    def check(self, prompt: str | None = None, **call: Any) -> CheckReport:
        """Verify on this very checkpoint that labels tell the truth; see :mod:`ditscope.checking.check`.

        Args:
            prompt: what to generate; a neutral sentence if left out.
            **call: pipeline arguments, such as height, width and number of steps.

        Returns:
            The claims with what was measured for each; ``report.ok`` says whether all are true.

        Raises:
            InputError: an argument that the pipeline does not have.
            UnsupportedError: what breaks the mapping from visits to steps, such as step caching or replaced blocks.

        Examples:
            >>> dit.check().ok
            True
        """
        # The checks trace the model, so they live a layer further on; this is only their door.
        from ditscope.checking.check import check_model

        return check_model(self, prompt, **call)

    def generate_images(
        self, prompts: Any, seeds: Any = 0, *, batch_size: int = 1, **call: Any
    ) -> xr.DataArray:
        """Images of every prompt with every seed; see :func:`ditscope.tracing.images.generate_images`.

        Examples:
            >>> dit.generate_images(prompts[0], seeds=range(2), num_inference_steps=2).sizes["sample"]
            2
        """
        from ditscope.tracing.images import generate_images

        return generate_images(self, prompts, seeds, batch_size=batch_size, **call)

    def _described_blocks(self) -> Blocks:
        blocks: list[Block] = []
        for described in self.family.block_lists:
            members = list(getattr(self.transformer, described.path, ()))
            for position, layout in enumerate(described.each(len(members))):
                if isinstance(members[position], Block):  # what else is there is refused when visits are read
                    members[position].describe(self.run_state, len(blocks), position, layout)
                    blocks.append(members[position])
        return Blocks(blocks)

    def __repr__(self) -> str:
        if self.pipeline is None:
            return f"DiT({self.name!r}: closed)"
        counts = ", ".join(
            f"{sum(block.kind == layout.kind for block in self.blocks)} {layout.kind}"
            for layout in self.family.block_lists
        )
        hidden = hidden_prompts(self.call_defaults)
        return (
            f"DiT({self.name!r}: {self.family.name}, {len(self.blocks)} blocks ({counts}), "
            f"width {self.width}, {str(self.dtype).removeprefix('torch.')}, on {self.device}"
            f"{hidden and f', its folder sets {hidden}'})"
        )

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"
