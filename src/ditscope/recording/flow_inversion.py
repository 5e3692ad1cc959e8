"""Flow inversion: the noise from which a sampler comes to given latents, by its own velocity backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.tracing.run import LATENT, run_traced

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.transformer_inputs import TransformerInputs
    from ditscope.tracing.prompt_embeds import Prompt

_TOLERANCE = 0.02
"""Of a sampler's step beside velocity times step length, relative: bfloat16 rounds a step by less."""


def inverted(dit: DiT, prompt: Prompt, clean: torch.Tensor, iterations: int, **call: Any) -> torch.Tensor:
    """Latents at the first noise level that Euler's method leads to ``clean``, but for an error.

    ``x_i = x_j - (sigma_j - sigma_i) v(x, sigma_i)`` for j the step after i, from the last step to the first, where the
    velocity is taken at ``x_j``; each further iteration takes it at the ``x_i`` that the one before found, which is
    where the sampler will take it.

    Args:
        dit: the model.
        prompt: whose velocity it is.
        clean: latents of the image, as the argument ``latents=`` has them.
        iterations: evaluations of the model in each step.
        **call: further arguments of the pipeline.

    Raises:
        UnsupportedError: a step has two branches, or the sampler's step is not velocity times step length.
    """
    passed: list[TransformerInputs] = []
    outputs: list[torch.Tensor] = []
    sigmas: list[float] = []

    def at_visit(visit: Any) -> None:
        if len(dit.run_state.schedule.branches) > 1:
            raise UnsupportedError(
                "flow inversion with classifier-free guidance",
                "one branch, whose velocity the sampler takes",
                "Switch guidance off for the call, as with true_cfg_scale=1.0 or guidance_scale=1.0.",
            )
        passed.append(dit.run_state.inputs)
        sigmas.append(visit.sigma)
        outputs.append(dit.run_state.inputs.as_tokens(dit.transformer.output[0]).detach().float().cpu())

    ran = run_traced(dit, [(prompt, 0)], at_visit, keep_latents=True, **{**call, "output_type": LATENT})
    lengths = [after - before for before, after in zip(sigmas, [*sigmas[1:], 0.0], strict=True)]
    for step, (output, length) in enumerate(zip(outputs, lengths, strict=True)):
        made = torch.from_numpy(ran.latents[:, step + 1] - ran.latents[:, step])
        if not torch.allclose(
            made, length * output, rtol=_TOLERANCE, atol=_TOLERANCE * float(made.abs().max())
        ):
            raise UnsupportedError(
                f"a sampler of {dit.family.name} whose step {step} is not the transformer's output times its length",
                "Euler steps along the transformer's output",
                "Use method='noise', or invert by hand and pass latents= to ds.capture.",
            )
    latents = clean.float()
    for inputs, length in reversed(list(zip(passed, lengths, strict=True))):
        found = latents
        for _ in range(iterations):
            found = latents - length * _velocity(dit, inputs, found.to(clean.dtype)).float()
        latents = found
    return latents.to(clean.dtype)


def _velocity(dit: DiT, inputs: TransformerInputs, latents: torch.Tensor) -> torch.Tensor:
    args, kwargs = inputs.replaced("hidden_states", latents)
    with torch.no_grad():
        return dit.diffusers_pipeline.transformer(*args, **kwargs)[0]
