"""A transformer block inside a trace: its place in the model and its streams, to read and to write."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from nnsight.intervention.envoy import Envoy
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import Mediator

from ditscope.errors import UnsupportedError, unknown_name
from ditscope.models import sites
from ditscope.models.arguments import argument, parameter_names
from ditscope.models.family import BlockList
from ditscope.models.taps import HookPoint, Tap
from ditscope.vocabulary import BLOCK_ENDS, EDITABLE_SITES

if TYPE_CHECKING:
    from ditscope.models.pipeline import CallablePipeline


_UNREAD = object()


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

        The tensor is the model's own: copy what is to be kept. Modulation is ``[row, 1, channel]``.

        Raises:
            InputError: there is no such site.
            UnsupportedError: this block has no such site, or not in this stream.
        """
        if site not in BLOCK_ENDS:
            sites.require_stream(self.layout, stream, site)
            return self.tapped(self.layout.taps[stream][site], stream)
        return self.part(site, stream, getattr(self, _location(site)))

    def write(self, site: str, stream: str, tensor: Any) -> None:
        """Let the model go on with ``tensor`` in place of the hidden state at a site.

        Raises:
            InputError: there is no such site, or it is modulation, which can only be read.
            UnsupportedError: this block has no such site, or not in this stream.
        """
        if site not in BLOCK_ENDS:
            if site not in EDITABLE_SITES:
                raise unknown_name("site to write", site, EDITABLE_SITES)
            sites.require_stream(self.layout, stream, site)
            self._write_tap(self.layout.taps[stream][site], stream, tensor)
            return
        location = _location(site)
        setattr(self, location, self.whole(site, stream, getattr(self, location), tensor))

    def has(self, tap: Tap) -> bool:
        """Whether a tap's submodule is there: blocks of one list may differ in what they contain."""
        return not tap.module or getattr(self._module, tap.module.split(".")[0], None) is not None

    def tapped(self, tap: Tap, stream: str, served: Any = _UNREAD) -> Any:
        """A stream's tensor at a tap: ``[row, token, channel]``, modulation ``[row, 1, channel]``.

        Args:
            tap: where.
            stream: ``image`` or ``text``.
            served: what is served at the tap's place, if it was read already.

        Raises:
            UnsupportedError: a part of modulation is asked for that the tensor there is too narrow to have.
        """
        value = self.served(tap.place) if served is _UNREAD else served
        if tap.item is not None:
            value = value[tap.item]
        if tap.part is not None:
            width = self._run.width
            own = slice(tap.part * width, (tap.part + 1) * width)
            value = value.reshape(len(value), 1, -1)
            if value.shape[-1] < own.stop:
                raise UnsupportedError(
                    f"{value.shape[-1]} channels of modulation at {tap.module or tap.argument} of {self.name}",
                    f"at least {own.stop}, for part {tap.part} of width {width}",
                    "Compare the installed diffusers with the tested version, or mend the family.",
                )
            value = value[:, :, own]
            if tap.table is not None:
                value = getattr(self._module, tap.table)[tap.part] + value
            return value.tanh() if tap.tanh else value
        if tap.planar:
            return value.flatten(2).transpose(1, 2)
        place = sites.tokens_of(self.layout, stream, self._run.inputs, joined=tap.joined)
        return value if place is None else value[:, place]

    def served(self, place: HookPoint) -> Any:
        """What nnsight serves at a place inside the block: an argument of a submodule, or its output."""
        if not place.module:
            return argument(self._parameters, self.inputs, place.argument)
        envoy = functools.reduce(getattr, place.module.split("."), self)
        with self._at_call(place):
            if not place.argument:
                return envoy.output
            return argument(parameter_names(envoy._module), envoy.inputs, place.argument)

    @contextmanager
    def _at_call(self, place: HookPoint) -> Iterator[None]:
        """Let what is asked of nnsight be of one call of a module that is called several times a visit.

        nnsight would serve the next call that comes, and in the first visit always the first.
        """
        if place.calls == 1:
            yield
            return
        mediator = Mediator.current(place.module)
        before = mediator.iteration
        mediator.iteration = (self._run.n_visits - 1) * place.calls + place.call
        try:
            yield
        finally:
            mediator.iteration = before

    def _write_tap(self, tap: Tap, stream: str, tensor: Any) -> None:
        raw = self.served(tap.place)
        value = raw if tap.item is None else raw[tap.item]
        if tap.planar:
            tensor = tensor.transpose(1, 2).unflatten(2, value.shape[2:])
        else:
            place = sites.tokens_of(self.layout, stream, self._run.inputs, joined=tap.joined)
            if place is not None:
                tensor = torch.cat([value[:, : place.start], tensor, value[:, place.stop :]], dim=1)
        if tap.item is not None:
            tensor = (*raw[: tap.item], tensor, *raw[tap.item + 1 :])
        with self._at_call(tap.place):
            functools.reduce(getattr, tap.module.split("."), self).output = tensor

    def part(self, site: str, stream: str, raw: Any) -> Any:
        """The stream's tensor out of what nnsight serves at a site."""
        return sites.read(self.layout, self._parameters, site, stream, raw, self._run.inputs)

    def whole(self, site: str, stream: str, raw: Any, tensor: Any) -> Any:
        """What nnsight serves at a site with the stream's tensor replaced."""
        return sites.write(self.layout, self._parameters, site, stream, raw, tensor, self._run.inputs)


def _location(site: str) -> str:
    """Nnsight's name for what is served at a site."""
    return "inputs" if site == "block_input" else "output"
