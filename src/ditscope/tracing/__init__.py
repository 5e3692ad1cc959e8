"""Traced runs of a pipeline."""

from ditscope.tracing.probe import Probe, probe
from ditscope.tracing.prompt_embeds import PromptEmbeds
from ditscope.tracing.run import Outcome, run_traced
from ditscope.tracing.samples import pair_samples

__all__ = ["Outcome", "Probe", "PromptEmbeds", "pair_samples", "probe", "run_traced"]
