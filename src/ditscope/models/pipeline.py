"""Opening a diffusers pipeline, and calling it with the defaults of its own folder.

A folder may hold ``ditscope.json`` beside ``model_index.json``: ``{"call": {...}}`` names the call
arguments that suit the checkpoint (height, width, text length, guidance). They fill in what a call
leaves out, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from nnsight.modeling.diffusion import _PipelineModule

from ditscope.errors import InputError, UnsupportedError, found_expected
from ditscope.models.handed import Handed

if TYPE_CHECKING:
    from ditscope.models.family import Family
    from ditscope.models.visits import Walk

SETTINGS_FILE = "ditscope.json"


def call_defaults(source: str) -> dict[str, Any]:
    """Call arguments that suit a checkpoint folder, or none for a hub id.

    Raises:
        InputError: the folder's settings file is not what it should be.
    """
    path = Path(source) / SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text())["call"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            found_expected(
                f"{path} without readable call arguments", '{"call": {...}}', "Mend or remove the file."
            )
        ) from error


class CallablePipeline(_PipelineModule):
    """nnsight's module view of a pipeline, which completes the call and remembers it.

    Attributes:
        defaults: call arguments to fill in.
        call: the arguments of the run in progress, or of the last one.
        n_visits: visits begun in the run in progress, or made in the last one.
        handed: what the transformer is handed at the visit in progress, or at the last one.
        walk: the walk over the visits of the run in progress, once it has begun.
    """

    defaults: Mapping[str, Any]
    call: dict[str, Any]
    n_visits: int
    handed: Handed
    walk: Walk | None

    def __init__(self, pipeline: Any, family: Family, defaults: Mapping[str, Any]) -> None:
        super().__init__(pipeline)
        self._family = family
        self.defaults, self.call = dict(defaults), {}
        self.walk, self.n_visits = None, 0
        self._running = False

    def forward(self, *args: Any, seed: int | None = None, **kwargs: Any) -> Any:
        """Run the pipeline.

        Raises:
            UnsupportedError: the model is in a run already.
            VisitError: the run made more or fewer visits than were walked.
        """
        if self._running:
            raise UnsupportedError(
                found_expected(
                    "a second run on a model that is in a run",
                    "one run at a time, in one thread",
                    "Wait for the first, or load the model twice.",
                )
            )
        if args:
            kwargs["prompt"], args = args[0], args[1:]
        self.call = complete_call(kwargs, self.defaults)
        self.walk, self.n_visits = None, 0
        counting = self.pipeline.transformer.register_forward_pre_hook(self._begin_visit, with_kwargs=True)
        self._running = True
        try:
            result = super().forward(*args, seed=seed, **self.call)
        finally:
            self._running = False
            counting.remove()
        if self.walk is not None:
            self.walk.require_complete(self.n_visits)
        return result

    @property
    def width(self) -> int:
        """Hidden width: the number of channels."""
        return self._family.channels(self.pipeline.transformer.config)

    def _begin_visit(self, transformer: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self.n_visits += 1
        self.handed = Handed(self._family, transformer, (args, kwargs))


def complete_call(call: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Call arguments with the defaults filled in, and one negative prompt for each prompt."""
    complete = {**defaults, **call}
    prompt, negative = complete.get("prompt"), complete.get("negative_prompt")
    if isinstance(prompt, list | tuple) and isinstance(negative, str):
        # FLUX.1 encodes a single negative prompt as one row, which does not fit a batch.
        complete["negative_prompt"] = [negative] * len(prompt)
    return complete
