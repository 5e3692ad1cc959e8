"""A transformer block inside a trace: its place in the model and its streams, to read and to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnsight.intervention.envoy import Envoy
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import Mediator

from ditscope.models import sites
from ditscope.models.arguments import parameter_names
from ditscope.models.family import BlockList

if TYPE_CHECKING:
    from ditscope.models.pipeline import CallablePipeline


def _stream(site: str, stream: str) -> Any:
    """A stream at a site as a property that can be read, assigned and edited in place by slices."""
    key = "input" if site == "block_input" else "output"

    def view(block: Block, raw: Any) -> Any:
        return block.part(site, stream, raw)

    def write_back(block: Block, edited: Any, raw: Any) -> Any:
        return block.whole(site, stream, raw, edited)

    def assign(block: Block, tensor: Any) -> Any:
        raw = Mediator.value(f"{block.path}.{key}")
        return block.whole(site, stream, raw, tensor)

    view.__name__ = stream if site == "block_output" else f"{stream}_input"
    view.__doc__ = f"{stream.capitalize()} stream at {site}, ``[row, token, channel]``."
    return eproperty(key=key, description=view.__doc__)(view).transform(write_back).postprocess(assign)


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
    _parameters: tuple[str, ...]
    _run: CallablePipeline

    image = _stream("block_output", "image")
    text = _stream("block_output", "text")
    image_input = _stream("block_input", "image")
    text_input = _stream("block_input", "text")

    def place(self, index: int, position: int, layout: BlockList) -> None:
        """Tell the block where it stands; called once, when the model is opened."""
        self.index, self.position, self.layout = index, position, layout
        self._parameters = parameter_names(self._module)

    def follow(self, run: CallablePipeline) -> None:
        """Tell the block where to look up the visit in progress; called once, when the model is opened."""
        self._run = run

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
        return self.part(site, stream, getattr(self, _location(site)))

    def write(self, site: str, stream: str, tensor: Any) -> None:
        """Let the model go on with ``tensor`` in place of the hidden state at a site."""
        location = _location(site)
        setattr(self, location, self.whole(site, stream, getattr(self, location), tensor))

    def part(self, site: str, stream: str, raw: Any) -> Any:
        """The stream's tensor out of what nnsight serves at a site."""
        return sites.read(self.layout, self._parameters, site, stream, raw, self._run.handed)

    def whole(self, site: str, stream: str, raw: Any, tensor: Any) -> Any:
        """What nnsight serves at a site with the stream's tensor replaced."""
        return sites.write(self.layout, self._parameters, site, stream, raw, tensor, self._run.handed)


def _location(site: str) -> str:
    """Nnsight's name for what is served at a site."""
    return "inputs" if site == "block_input" else "output"
