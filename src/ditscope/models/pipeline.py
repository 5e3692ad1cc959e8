"""The module through which nnsight calls a pipeline: every call is a run."""

from __future__ import annotations

from typing import Any

import torch

from ditscope.models._internals.of_nnsight import PipelineModule
from ditscope.models.run_state import RunState


class CallablePipeline(PipelineModule):
    """A pipeline as a module that completes the call and keeps the run's state.

    Attributes:
        run: the run in progress, or the last one.
    """

    def __init__(self, run: RunState) -> None:
        super().__init__(run.pipeline)
        self.run = run

    def forward(self, *args: Any, seed: int | None = None, **kwargs: Any) -> Any:
        """Run the pipeline; errors as of :meth:`ditscope.models.run_state.RunState.begun`."""
        if args:
            kwargs["prompt"], args = args[0], args[1:]
        with self.run.begun(kwargs, seed):
            return super().forward(*args, **self.run.call)


class ClosedPipeline(torch.nn.Module):
    """What is left of the module of a pipeline that was closed.

    Attributes:
        run: the last run.
    """

    def __init__(self, run: RunState) -> None:
        super().__init__()
        self.run = run

    def forward(self, *_: Any, **__: Any) -> Any:
        """Refuse the call, as :attr:`ditscope.models.run_state.RunState.pipeline` does."""
        return self.run.pipeline
