"""A transformer block inside a trace: its position in the model and its streams, to read and to write."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from nnsight import Envoy

from ditscope.errors import InputError, UnsupportedError, not_copied, unknown_name
from ditscope.models import block_streams
from ditscope.models._internals.of_nnsight import module_of, of_occurrence, served_property
from ditscope.models.block_streams import StreamsAt
from ditscope.models.family import BlockList
from ditscope.models.hook_points import HookPoint, Tap
from ditscope.models.module_arguments import argument, parameter_names, with_argument
from ditscope.vocabulary import BLOCK_ENDS, EDITABLE_SITES

if TYPE_CHECKING:
    from ditscope.models.run_state import RunState


_UNREAD = object()


def _stream(site: str, stream: str) -> Any:
    """A stream at a site as a property that can be read, assigned and edited in place."""

    def read(block: Block) -> Any:
        return block.streams_at(site)[stream]

    def assign(block: Block, tensor: Any) -> None:
        block.streams_at(site)[stream] = tensor

    return property(read, assign, doc=f"{stream.capitalize()} stream at {site}, ``[row, token, channel]``.")


def _streams(site: str, names: str) -> Any:
    """All streams at a site, which share what nnsight serves there, so that no write can undo another."""

    def take(block: Block, raw: Any) -> StreamsAt:
        return StreamsAt(functools.partial(block.part, site), functools.partial(block.whole, site), raw)

    take.__name__ = names
    return served_property(
        "input" if site == "block_input" else "output",
        f"streams at {site}, ``[row, token, channel]``.",
        take,
        lambda block, streams, raw: streams.whole(),
    )


class Block(Envoy):
    """One block, an nnsight envoy with named streams.

    ``image`` and ``text`` are the streams at the block's output, ``image_input`` and ``text_input``
    at its input: tensors ``[row, token, channel]`` where a row is an image of the batch. Inside a
    trace they can be read, assigned, or edited in place, in any order, and the model goes on with what
    was written, as if a PyTorch hook had done it. The hook, so to speak, returns when anything else is
    asked of the model, ``block.output`` included: copy what is to be kept.

    Attributes:
        index: position in execution order, over all block lists.
        position: position within its own block list.
        layout: the block list's description.
    """

    index: int
    position: int
    layout: BlockList
    _parameters: tuple[str, ...]
    _run: RunState

    image = _stream("block_output", "image")
    text = _stream("block_output", "text")
    image_input = _stream("block_input", "image")
    text_input = _stream("block_input", "text")
    input_streams = _streams("block_input", "image_input, text_input")
    output_streams = _streams("block_output", "image, text")

    def describe(self, run: RunState, index: int, position: int, layout: BlockList) -> None:
        """Take up what is known of the block; called when the model is opened, and when modules are replaced.

        Args:
            run: where the visit in progress is looked up.
            index: position in execution order, over all block lists.
            position: position within its own block list.
            layout: the block list's description.
        """
        self._run, self.index, self.position, self.layout = run, index, position, layout
        self._parameters = parameter_names(module_of(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise not_copied("a block of an opened model", "Pass block.index or block.name.")

    @property
    def kind(self) -> str:
        """The kind of block, such as ``double`` or ``single``."""
        return self.layout.kind

    @property
    def name(self) -> str:
        """The block's name in labels, such as ``single.5``."""
        return f"{self.layout.kind}.{self.position}"

    def streams_at(self, site: str) -> StreamsAt:
        """The streams at an end of the block, in the visit in progress."""
        return self.input_streams if site == "block_input" else self.output_streams

    def read(self, site: str, stream: str, image: int = 0) -> Any:
        """The hidden state at a site.

        The tensor is the model's own: copy what is to be kept. Modulation is ``[row, 1, channel]``.

        Args:
            site: name of the site.
            stream: ``image`` or ``text``.
            image: whose tokens the image stream's are: 0 for the generated image, then the reference images.

        Raises:
            InputError: there is no such site.
            UnsupportedError: this block has no such site, or not in this stream.
        """
        if site not in BLOCK_ENDS:
            block_streams.require_stream(self.layout, stream, site)
            return self.tapped(self.layout.taps[stream][site], stream, image=image)
        # Not by way of the stream's property, which nnsight asks for what goes back into the model each time.
        return self.part(site, stream, self.inputs if site == "block_input" else self.output, image)

    def write(self, site: str, stream: str, tensor: Any) -> None:
        """Let the model go on with ``tensor`` in place of the hidden state at a site.

        Raises:
            InputError: there is no such site; or the tensor has another shape than the stream, at an end of the block;
                or a gate that is a hyperbolic tangent is to be above 1.
            UnsupportedError: this block has no such site, or not in this stream.
        """
        if site not in BLOCK_ENDS:
            if site not in EDITABLE_SITES:
                raise unknown_name("site to write", site, EDITABLE_SITES)
            block_streams.require_stream(self.layout, stream, site)
            self._write_tap(self.layout.taps[stream][site], stream, tensor)
            return
        self.streams_at(site)[stream] = tensor

    def skip(self, replacement: Any) -> None:
        """Let the block return ``replacement``, in its own form, in the visit in progress, and compute nothing."""
        self._run.skips[self.index] += 1
        super().skip(replacement)

    def pass_on(self) -> None:
        """Skip the block: it returns, in its own form, what it was passed."""
        arguments, layout = self.inputs, self.layout
        carried = {
            stream: argument(self._parameters, arguments, name) for stream, name in layout.inputs.items()
        }
        self.skip(
            carried[layout.outputs[0]] if layout.joined else tuple(carried[name] for name in layout.outputs)
        )

    def has(self, tap: Tap) -> bool:
        """Whether a tap's submodule is there: blocks of one list may differ in what they contain."""
        return not tap.module or getattr(module_of(self), tap.module.split(".")[0], None) is not None

    def tapped(self, tap: Tap, stream: str, served: Any = _UNREAD, image: int = 0) -> Any:
        """A stream's tensor at a tap: ``[row, token, channel]``, modulation ``[row, 1, channel]``.

        Args:
            tap: where.
            stream: ``image`` or ``text``.
            served: what is served at the tap's hook point, if it was read already.
            image: as of :meth:`read`.

        Raises:
            UnsupportedError: a part of modulation is asked for that the tensor there is too narrow to have.
        """
        value = self.served(tap.hook_point) if served is _UNREAD else served
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
                    "Compare the installed diffusers with the tested version, or correct the family.",
                )
            value = value[:, :, own]
            if tap.table is not None:
                value = getattr(module_of(self), tap.table)[tap.part] + value
            return value.tanh() if tap.tanh else value
        if tap.planar:
            return value.flatten(2).transpose(1, 2)
        tokens = self._tokens(tap, stream, image)
        return value if tokens is None else value[:, tokens]

    def served(self, hook_point: HookPoint) -> Any:
        """What nnsight serves at a hook point inside the block: an argument of a submodule, or its output."""
        if not hook_point.module:
            return argument(self._parameters, self.inputs, hook_point.argument)
        envoy = self.submodule(hook_point.module)
        with self._at_call(hook_point):
            if not hook_point.argument:
                return envoy.output
            return argument(parameter_names(module_of(envoy)), envoy.inputs, hook_point.argument)

    def submodule(self, path: str) -> Envoy:
        """A module inside the block; called in a trace, it computes apart from the run."""
        return functools.reduce(getattr, path.split("."), self)

    def _at_call(self, hook_point: HookPoint) -> Any:
        """Let what is asked of nnsight be of one call of a module that is called several times a visit."""
        if hook_point.calls == 1:
            return nullcontext()
        forward = self._run.n_forwards - 1 - self._run.skips[self.index]  # in which the module was called
        return of_occurrence(hook_point.module, forward * hook_point.calls + hook_point.call)

    def _tokens(self, tap: Tap, stream: str, image: int = 0) -> slice | None:
        return block_streams.tokens_of(self.layout, stream, self._run.inputs, tap.joined, image)

    def _write_tap(self, tap: Tap, stream: str, tensor: Any) -> None:
        raw = self.served(tap.hook_point)
        value = raw if tap.item is None else raw[tap.item]
        if tap.part is not None:
            tensor = self._with_part(tap, value, tensor)
        elif tap.planar:
            tensor = tensor.transpose(1, 2).unflatten(2, value.shape[2:])
        else:
            tensor = block_streams.among(value, self._tokens(tap, stream), tensor)
        if tap.item is not None:
            tensor = (*raw[: tap.item], tensor, *raw[tap.item + 1 :])
        if not tap.module:
            self._replace_argument(tap.argument, tensor)
            return
        with self._at_call(tap.hook_point):
            self.submodule(tap.module).output = tensor

    def _replace_argument(self, name: str, tensor: Any) -> None:
        envoy: Any = self
        envoy.inputs = with_argument(self._parameters, envoy.inputs, name, tensor)

    def _with_part(self, tap: Tap, value: Any, tensor: Any) -> Any:
        """What carries modulation, with one part such that the block takes it for ``tensor``, but for rounding."""
        part = tensor.to(value.dtype)
        if tap.table is not None:
            part = (tensor - getattr(module_of(self), tap.table)[tap.part]).to(
                value.dtype
            )  # which the block adds again
        if tap.tanh:
            if bool((part.abs() > 1).any()):
                raise InputError(
                    f"modulation of {float(part.abs().max()):.3g} written to {self.name}",
                    "-1 to 1, as of a hyperbolic tangent",
                    "Write smaller values.",
                )
            part = part.atanh()
        assert tap.part is not None
        whole = value.reshape(len(value), 1, -1).clone()
        whole[:, :, tap.part * self._run.width : (tap.part + 1) * self._run.width] = part
        return whole.reshape(value.shape)

    def part(self, site: str, stream: str, raw: Any, image: int = 0) -> Any:
        """The stream's tensor out of what nnsight serves at a site."""
        return block_streams.read(self.layout, self._parameters, site, stream, raw, self._run.inputs, image)

    def whole(self, site: str, stream: str, raw: Any, tensor: Any) -> Any:
        """What nnsight serves at a site with the stream's tensor replaced."""
        return block_streams.write(self.layout, self._parameters, site, stream, raw, tensor, self._run.inputs)
