"""What a tokenizer calls the tokens of the text stream, each at its place there.

Pipelines pad texts, cut a template off their front, and join those of two encoders. Where what the tokenizers made does
not have as many tokens as the transformer is passed, nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditscope.encoded_text import Runs, runs_of
from ditscope.models.text_encoding import Tokenized, Watched

if TYPE_CHECKING:
    import torch

    from ditscope.models.family import Family


@dataclass(frozen=True)
class TextsPassed:
    """What the transformer was passed of the texts of a run.

    Attributes:
        visits: of each of a step's visits, as of
            :attr:`~ditscope.models.transformer_inputs.TransformerInputs.text_passed`.
        branches: the branches of a step, in the order of its visits or, in a doubled batch, of its rows.
        n_prompts: number of prompts.
        n_images: number of rows of each prompt in a branch.
    """

    visits: Sequence[tuple[int, torch.Tensor | None]]
    branches: Sequence[str]
    n_prompts: int
    n_images: int = 1

    def tokens(
        self, family: Family, seen: Mapping[str, Watched], prompt: int, prefix: int = 0
    ) -> dict[str, Runs]:
        """Branch -> tokens of the text stream of a prompt; without the branches of which they are not known.

        Args:
            family: says which encoders' tokens they are.
            seen: what tokenizers were given in the run.
            prompt: position of the prompt.
            prefix: number of a template's tokens that the pipeline takes off the front.
        """
        found = {}
        for number, branch in enumerate(self.branches):
            doubled = family.guidance.doubled
            if (visit := 0 if doubled else number) >= len(self.visits):
                continue
            length, mask = self.visits[visit]
            row = prompt * self.n_images + (number * self.n_prompts * self.n_images if doubled else 0)
            real = length if mask is None else int(mask[row].sum())
            if mask is not None and not mask[row, :real].all():
                continue
            texts = []
            for encoder in family.text_encoders:
                own = next(
                    (seen[name] for name in (encoder, "processor") if name in seen and seen[name].texts), None
                )
                if own is not None and (text := self._text(own.texts, prompt, branch)) is not None:
                    texts.append((own, text))
            if len(texts) == len(family.text_encoders):
                names = _placed(family, texts, length, real, prefix)
                if names is not None:
                    found[branch] = runs_of(names)
        return found

    def _text(self, texts: Sequence[Tokenized], prompt: int, branch: str) -> Tokenized | None:
        """The prompt's text in a branch. Pipelines encode prompts before what stands in their place."""
        n = self.n_prompts
        if branch == "cond":
            return texts[prompt] if len(texts) in (n, n + 1, 2 * n) else None
        return {n + 1: texts[-1], 2 * n: texts[(n + prompt) % len(texts)]}.get(len(texts))


def _placed(
    family: Family, texts: Sequence[tuple[Watched, Tokenized]], length: int, real: int, prefix: int
) -> list[str] | None:
    """The tokens of a text that is ``length`` long, of which ``real`` are not padding; None where they do not fit."""
    watched, last = texts[-1]
    if family.text_prefix is not None or not family.text_padding_kept:
        names = _names(watched, last.left[prefix:][:real])
        return names + [""] * (length - real) if len(names) == real else None
    names = [name for own, text in texts[:-1] for name in _names(own, text.padded)]
    filled = length - len(names) - len(last.padded)
    if filled < 0 or (filled and names):
        return None
    # What a pipeline fills a length up with, it puts before the text.
    return [*names, *[str(watched.tokenizer.pad_token)] * filled, *_names(watched, last.padded)]


def _names(watched: Watched, ids: Sequence[int]) -> list[str]:
    return [str(name) for name in watched.tokenizer.convert_ids_to_tokens(list(ids))]
