"""A transformer block inside a trace: its place in the model and its streams, to read and to write."""

from __future__ import annotations

from typing import Any

from nnsight.intervention.envoy import Envoy
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import Mediator

from ditscope.models import sites
from ditscope.models.family import BlockList


class Block(Envoy):
    """One block, an nnsight envoy with named streams.

    ``image`` and ``text`` are the streams at the block's output, ``image_input`` and ``text_input``
    at its input: tensors ``[row, token, channel]`` where a row is an image of the batch. Inside a
    trace they can be read, assigned, or edited in place by slices, and the model goes on with what
    was written.

    Attributes:
        index: position in execution order, over all block lists.
        position: position within its own block list.
        layout: the block list's description.
    """

    index: int
    position: int
    layout: BlockList

    def place(self, index: int, position: int, layout: BlockList) -> None:
        """Tell the block where it stands; called once, when the model is opened."""
        self.index, self.position, self.layout = index, position, layout

    @property
    def kind(self) -> str:
        """The kind of block, such as ``double`` or ``single``."""
        return self.layout.kind

    @property
    def name(self) -> str:
        """The block's name in labels, such as ``single.5``."""
        return f"{self.layout.kind}.{self.position}"

    def read(self, site: str, stream: str) -> Any:
        """The hidden state at a site, without marking it for write-back.

        The tensor is the model's own: copy what is to be kept.
        """
        raw = self.inputs if site == "block_input" else self.output
        return sites.read(self.layout, site, stream, raw)

    def write(self, site: str, stream: str, tensor: Any) -> None:
        """Let the model go on with ``tensor`` in place of the hidden state at a site."""
        if site == "block_input":
            self.inputs = sites.write(self.layout, site, stream, self.inputs, tensor)
        else:
            self.output = sites.write(self.layout, site, stream, self.output, tensor)

    @eproperty(key="output", description="image stream at the block's output")
    def image(self, value: Any) -> Any:
        """Image stream at the block's output, ``[row, token, channel]``."""
        return sites.read(self.layout, "block_output", "image", value)

    @image.transform
    def image(self, view: Any, raw: Any) -> Any:
        return sites.write(self.layout, "block_output", "image", raw, view)

    @image.postprocess
    def image(self, value: Any) -> Any:
        return _replace(self, "block_output", "image", value)

    @eproperty(key="output", description="text stream at the block's output")
    def text(self, value: Any) -> Any:
        """Text stream at the block's output, ``[row, token, channel]``."""
        return sites.read(self.layout, "block_output", "text", value)

    @text.transform
    def text(self, view: Any, raw: Any) -> Any:
        return sites.write(self.layout, "block_output", "text", raw, view)

    @text.postprocess
    def text(self, value: Any) -> Any:
        return _replace(self, "block_output", "text", value)

    @eproperty(key="input", description="image stream at the block's input")
    def image_input(self, value: Any) -> Any:
        """Image stream at the block's input, ``[row, token, channel]``."""
        return sites.read(self.layout, "block_input", "image", value)

    @image_input.transform
    def image_input(self, view: Any, raw: Any) -> Any:
        return sites.write(self.layout, "block_input", "image", raw, view)

    @image_input.postprocess
    def image_input(self, value: Any) -> Any:
        return _replace(self, "block_input", "image", value)

    @eproperty(key="input", description="text stream at the block's input")
    def text_input(self, value: Any) -> Any:
        """Text stream at the block's input, ``[row, token, channel]``."""
        return sites.read(self.layout, "block_input", "text", value)

    @text_input.transform
    def text_input(self, view: Any, raw: Any) -> Any:
        return sites.write(self.layout, "block_input", "text", raw, view)

    @text_input.postprocess
    def text_input(self, value: Any) -> Any:
        return _replace(self, "block_input", "text", value)


def _replace(block: Block, site: str, stream: str, tensor: Any) -> Any:
    key = "input" if site == "block_input" else "output"
    raw = Mediator.value(f"{block.path}.{key}")
    return sites.write(block.layout, site, stream, raw, tensor)
