"""What the transformer is passed at a visit: latents, text, timestep, and where image tokens are.

The run itself says how its tokens are to be split and placed, so that no call argument has to be
interpreted: a height may be left out, rounded, or taken from a reference image.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_torch import write_count
from ditscope.models.module_arguments import RawInputs, argument, parameter_names, with_argument

if TYPE_CHECKING:
    from ditscope.models.family import Family


class TransformerInputs:
    """The transformer's arguments at one visit, read by a family's description.

    Args:
        family: what is known of the transformer.
        transformer: the transformer.
        raw: what it is passed.
        before: those of the visit before, of which the grid is taken over where it was read off the same tensor.

    Attributes:
        register_tokens: number of tokens that the transformer puts before the text.
    """

    def __init__(
        self,
        family: Family,
        transformer: torch.nn.Module,
        raw: RawInputs,
        before: TransformerInputs | None = None,
    ) -> None:
        self._family, self._names, self._raw = family, parameter_names(transformer), raw
        self._grid_read: tuple[torch.Tensor, int, tuple[int, int]] | None = (
            None if before is None else before._grid_read
        )
        self._config: Any = transformer.config
        self.register_tokens = getattr(transformer, family.registers).shape[1] if family.registers else 0

    def __getitem__(self, name: str) -> Any:
        """The argument of that name."""
        return argument(self._names, self._raw, name)

    def replaced(self, name: str, value: Any) -> RawInputs:
        """The call's arguments with one replaced."""
        return with_argument(self._names, self._raw, name, value)

    @property
    def latents(self) -> torch.Tensor:
        """Latents as tokens ``[row, token, latent channel]``; see :func:`as_tokens`."""
        return self.as_tokens(self["hidden_states"])

    @property
    def timesteps(self) -> torch.Tensor:
        """The timestep of each row, in the transformer's unit."""
        return self[self._family.timestep_argument].flatten()

    @property
    def text_tokens(self) -> int:
        """Number of text tokens in the blocks, with the padding that goes through them.

        Raises:
            UnsupportedError: the rows of the batch differ in it.
        """
        if self._family.text_padding_kept or self._mask is None:
            return int(self[self._family.text_argument].shape[1])
        lengths = self._mask.sum(dim=1).tolist()
        if len(set(lengths)) > 1:
            raise UnsupportedError(
                f"prompts of {', '.join(map(str, lengths))} text tokens in one batch of {self._family.name}",
                "as many in each, where padding is taken out before the blocks",
                "Generate one prompt at a time, with batch_size=1.",
            )
        return int(lengths[0])

    @property
    def text_passed(self) -> tuple[int, torch.Tensor | None]:
        """Length of the texts that the transformer is passed; which tokens are real, bool ``[row, token]``, or None."""
        return int(self[self._family.text_argument].shape[1]), self._mask

    @property
    def text_mask(self) -> torch.Tensor | None:
        """Which text tokens attention reads, bool ``[row, token]``; None if all."""
        return self._mask if self._family.text_padding_kept else None

    @property
    def _mask(self) -> torch.Tensor | None:
        name = self._family.text_mask_argument
        mask = self[name] if name is not None else None
        return None if mask is None else mask.bool()

    @cached_property
    def grid(self) -> tuple[int, int]:
        """(height, width) of the generated image in tokens."""
        given = self[self._family.grid_argument]
        if isinstance(given, list | tuple):  # shapes (frames, height, width), by row and image
            while isinstance(given[0], list | tuple):
                given = given[0]
            return int(given[1]), int(given[2])
        if given.ndim == 4:
            edge = self._family.token_pixels
            return given.shape[-2] // edge, given.shape[-1] // edge
        known, written = self._grid_read, write_count(given)
        if known is None or given is not known[0] or written != known[1] or given.is_inference():
            ids = given.reshape(-1, given.shape[-2], given.shape[-1])[0]
            own = ids[ids[:, 0] == 0]  # reference images count from another number
            known = (given, written, (int(own[:, 1].max()) + 1, int(own[:, 2].max()) + 1))
            self._grid_read = known
        return known[2]

    @cached_property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """(height, width) in tokens of the generated image, and of each reference image behind it.

        Raises:
            UnsupportedError: they are not all of the tokens that the transformer is passed.
        """
        given, latents = self[self._family.grid_argument], self["hidden_states"]
        found = [self.grid]
        if isinstance(given, list | tuple):
            own = given[0] if isinstance(given[0], list | tuple) else given
            if isinstance(own[0], list | tuple):
                found += [(int(height), int(width)) for _, height, width in own[1:]]
        elif given.ndim < 4:
            ids = given.reshape(-1, given.shape[-2], given.shape[-1])[0]
            _, counts = ids[:, 0].unique_consecutive(return_counts=True)
            of_image = ids.split(counts.tolist())[1:]
            found += [(int(own[:, 1].max()) + 1, int(own[:, 2].max()) + 1) for own in of_image]
        if latents.ndim == 3 and sum(height * width for height, width in found) != latents.shape[1]:
            raise UnsupportedError(
                f"{latents.shape[1]} image tokens for images of {', '.join(f'{h} x {w}' for h, w in found)}",
                "the tokens of one image behind those of another, row by row",
                "Read the tokens of its reference images with nnsight itself.",
            )
        return tuple(found)

    @property
    def image_tokens(self) -> int:
        """Number of tokens of the generated image, without those of reference images."""
        height, width = self.grid
        return height * width

    def tokens_of(self, image: int) -> slice:
        """Where an image's tokens are among the image tokens; 0 for the generated image, then the references."""
        if image == 0:
            return slice(0, self.image_tokens)
        sizes = [height * width for height, width in self.grids[: image + 1]]
        return slice(sum(sizes[:-1]), sum(sizes))

    @property
    def reference_tokens(self) -> int:
        """Number of tokens of reference images, behind those of the generated image."""
        latents = self["hidden_states"]
        return latents.shape[1] - self.image_tokens if latents.ndim == 3 else 0

    def as_tokens(self, tensor: torch.Tensor, image: int = 0) -> torch.Tensor:
        """The transformer's input or output as tokens, ``[row, token, latent channel]``.

        ``[row, channel, y, x]`` is cut into the transformer's own patches: token ``y * width + x``, and
        within it channel-major, then rows, then columns, as FLUX.1 packs its latents. Channels beyond
        those of the latents (a learned variance; a mask or a picture joined to the input) and tokens of other images
        than the asked one (0: the generated; then the references) are left out.
        """
        made = self._config.get("out_channels") or self._config["in_channels"]
        if tensor.ndim == 3:
            return tensor[:, self.tokens_of(image), : made * self._config["patch_size"] ** 2]
        channels, edge = min(made, self["hidden_states"].shape[1]), self._family.token_pixels
        height, width = self.grid
        patches = tensor[:, :channels].reshape(len(tensor), channels, height, edge, width, edge)
        return patches.permute(0, 2, 4, 1, 3, 5).reshape(len(tensor), height * width, -1)
