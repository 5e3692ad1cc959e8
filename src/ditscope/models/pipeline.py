"""Opening a diffusers pipeline, and calling it with the defaults of its own folder.

A folder may hold ``ditscope.json`` beside ``model_index.json``: ``{"call": {...}}`` names the call
arguments that suit the checkpoint (height, width, text length, guidance). They fill in what a call
leaves out, and nothing else.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from nnsight.intervention.interleaver import EarlyStopException
from nnsight.modeling.diffusion import _PipelineModule

from ditscope.errors import InputError, UnsupportedError
from ditscope.models.transformer_inputs import TransformerInputs

if TYPE_CHECKING:
    from ditscope.models.family import Family
    from ditscope.models.visits import VisitProgress

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
            f"{path} without readable call arguments", '{"call": {...}}', "Mend or remove the file."
        ) from error


def signature_defaults(pipeline_class: type) -> dict[str, Any]:
    """Defaults of a pipeline's call arguments, from its class."""
    parameters = inspect.signature(pipeline_class.__call__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


class CallablePipeline(_PipelineModule):
    """nnsight's module view of a pipeline, which completes the call and remembers it.

    Attributes:
        defaults: call arguments to fill in.
        call: the arguments of the run in progress, or of the last one.
        n_visits: visits begun in the run in progress, or made in the last one.
        inputs: what the transformer is handed at the visit in progress, or at the last one.
        walk: the walk over the visits of the run in progress, once it has begun.
    """

    defaults: Mapping[str, Any]
    call: dict[str, Any]
    n_visits: int
    inputs: TransformerInputs
    walk: VisitProgress | None

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
            VisitError: the run made more or fewer visits than were walked, or a visit's body ended in a later
                visit.
        """
        if self._running:
            raise UnsupportedError(
                "a second run on a model that is in a run",
                "one run at a time, in one thread",
                "Wait for the first, or load the model twice.",
            )
        if args:
            kwargs["prompt"], args = args[0], args[1:]
        self.call = complete_call(kwargs, self.defaults)
        self.walk, self.n_visits = None, 0
        counting = self.pipeline.transformer.register_forward_pre_hook(self._begin_visit, with_kwargs=True)
        self._running = True
        try:
            result = super().forward(*args, **{**self.call, **self._seeded(seed)})
        except BaseException as error:
            # A pipeline puts its networks back at its end only; a run that is stopped must not fill the device.
            self.pipeline.maybe_free_model_hooks()
            if isinstance(error, EarlyStopException) and self.walk is not None:
                self.walk.require_left_in_time()
            raise
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

    def _seeded(self, seed: int | None) -> dict[str, Any]:
        """A generator for each image, where there are seeds and no generators, on the device that computes.

        nnsight would make them where the weights are, which is nowhere once they are offloaded.
        """
        if seed is None or self.call.get("generator") is not None:
            return {}
        prompt, embedded = self.call.get("prompt"), self.call.get("prompt_embeds")
        if embedded is not None:
            prompts = len(embedded)
        else:
            prompts = len(prompt) if isinstance(prompt, list | tuple) else 1
        images = prompts * self.call.get("num_images_per_prompt", 1)
        device = self.pipeline._execution_device
        made = [torch.Generator(device).manual_seed(seed + image) for image in range(images)]
        return {"generator": made if images > 1 else made[0]}

    def _begin_visit(self, transformer: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self.n_visits += 1
        self.inputs = TransformerInputs(self._family, transformer, (args, kwargs))


def complete_call(call: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Call arguments with the defaults filled in, and one negative prompt for each prompt."""
    complete = {**defaults, **call}
    prompt, negative = complete.get("prompt"), complete.get("negative_prompt")
    if isinstance(prompt, list | tuple) and isinstance(negative, str):
        # FLUX.1 encodes a single negative prompt as one row, which does not fit a batch.
        complete["negative_prompt"] = [negative] * len(prompt)
    return complete
