"""What plain hooks on the modules inside diffusers' blocks see; nothing here uses ditscope.

The tables are written from the ``forward`` methods of diffusers' blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import plain_hooks
import torch

Place = tuple[str, str]
"""Site and stream."""

SHIFT_SCALE_GATE = ("attn_shift", "attn_scale", "attn_gate")
MODULATION = (*SHIFT_SCALE_GATE, "mlp_shift", "mlp_scale", "mlp_gate")

# What attention and MLP put out, before the gate: place -> module, item of its output.
JOINT = {("attn_output", "image"): ("attn", 0), ("attn_output", "text"): ("attn", 1)}
FEED_FORWARD = {("mlp_output", "image"): ("ff", None), ("mlp_output", "text"): ("ff_context", None)}
CROSS = {("attn_output", "image"): ("attn1", None), ("mlp_output", "image"): ("ff", None)}
COGVIEW = {
    **{place: ("attn1", item) for place, (_, item) in JOINT.items()},
    ("mlp_output", "image"): ("ff", None),
    ("mlp_output", "text"): ("ff", None),
}
LUMINA = {
    (site, stream): (module, None)
    for site, module in (("attn_output", "norm2"), ("mlp_output", "ffn_norm2"))
    for stream in ("image", "text")
}
QWEN = {**JOINT, ("mlp_output", "image"): ("img_mlp", None), ("mlp_output", "text"): ("txt_mlp", None)}


def modules_of(name: str) -> dict[Place, tuple[str, int | None]]:
    """Where a family's blocks, but FLUX's single ones, have what they add."""
    if name in plain_hooks.IMAGE_ONLY:
        return CROSS
    return {"qwen-image": QWEN, "cogview4": COGVIEW, "lumina2": LUMINA}.get(name, {**JOINT, **FEED_FORWARD})


def call_of(name: str, site: str, stream: str) -> int:
    """Which call of a module in a visit is the stream's: CogView4 runs image, then text through one MLP."""
    return int(name == "cogview4" and site == "mlp_output" and stream == "text")


def sites_of(name: str, kind: str) -> tuple[str, ...]:
    """FLUX's single blocks add attention and MLP as one; Lumina2 shifts nothing."""
    if name == "lumina2":
        return "attn_scale", "attn_gate", "mlp_scale", "mlp_gate"
    return SHIFT_SCALE_GATE if kind == "single" and name != "auraflow" else MODULATION


def part_of(name: str, kind: str, stream: str, number: int) -> int:
    """Which part of the source of modulation a site is."""
    if name == "cogview4":  # image and text take turns
        return 2 * number + (stream == "text")
    if name == "chroma" and kind == "double":  # all of the image, then all of the text
        return number + len(MODULATION) * (stream == "text")
    return number


def sources(name: str, transformer: Any, block: Any) -> dict[str, torch.nn.Module]:
    """Stream -> the module whose output is the modulation."""
    if name.startswith("flux2"):
        if block in list(transformer.single_transformer_blocks):
            return dict.fromkeys(("image", "text"), transformer.single_stream_modulation)
        return {
            "image": transformer.double_stream_modulation_img,
            "text": transformer.double_stream_modulation_txt,
        }
    if name in ("cogview4", "lumina2"):
        return dict.fromkeys(("image", "text"), block.norm1.linear)
    if not hasattr(block, "norm1_context") and name == "auraflow":
        return dict.fromkeys(("image", "text"), block.norm1.linear)
    if name == "qwen-image":
        return {"image": block.img_mod, "text": block.txt_mod}
    if hasattr(block, "norm"):  # FLUX.1's single blocks
        return dict.fromkeys(("image", "text"), block.norm.linear)
    return {"image": block.norm1.linear, "text": block.norm1_context.linear}


class Listening:
    """Clones of what passes inside the blocks while a pipeline runs.

    Attributes:
        added: (visit, block, module's name) -> items of the module's outputs, for each call in the visit.
        modulation: (visit, block, stream) -> modulation, ``[row, channels of all parts]``.
    """

    def __init__(self, name: str, pipeline: Any) -> None:
        self.added: dict[tuple[int, int, str], list[Any]] = {}
        self.modulation: dict[tuple[int, int, str], torch.Tensor] = {}
        self._name, self._transformer = name, pipeline.transformer
        self._latest: dict[torch.nn.Module, torch.Tensor] = {}
        self._visit = -1

    def output(self, seen: plain_hooks.Seen, visit: int, block: int, site: str, stream: str) -> torch.Tensor:
        """What attention or MLP added to a stream, ``[row, token, channel]``."""
        module, item = modules_of(self._name)[site, stream]
        value = self.added[visit, block, module][call_of(self._name, site, stream)]
        value = value[item or 0]
        if value.ndim == 4:  # planar
            value = value.permute(0, 2, 3, 1).flatten(1, 2)
        if self._name == "lumina2":  # the text, then the image
            n_text = seen.text_tokens[visit]
            return value[:, :n_text] if stream == "text" else value[:, n_text:]
        return value[:, plain_hooks.REGISTERS.get(self._name, 0) :] if stream == "text" else value

    def part(self, visit: int, block: int, kind: str, site: str, stream: str, width: int) -> torch.Tensor:
        """The modulation at a site, ``[row, channel]``."""
        number = part_of(self._name, kind, stream, sites_of(self._name, kind).index(site))
        own = self.modulation[visit, block, stream][:, number * width : (number + 1) * width]
        return own.tanh() if self._name == "lumina2" and site.endswith("gate") else own

    def count(self, *_: Any) -> None:
        self._visit += 1

    def keep_output(self, block: int, path: str, module: Any, args: Any, output: Any) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        kept = [None if part is None else part.clone() for part in parts]
        self.added.setdefault((self._visit, block, path), []).append(kept)

    def keep_table(self, block: int, module: Any, args: Any, kwargs: Any) -> None:
        embedded = kwargs.get("timestep", args[4] if len(args) > 4 else None)
        whole = module.scale_shift_table[None] + embedded.reshape(len(embedded), 6, -1)
        self.modulation[self._visit, block, "image"] = whole.flatten(1)

    def keep_argument(self, block: int, module: Any, args: Any, kwargs: Any) -> None:
        for stream in ("image", "text"):
            self.modulation[self._visit, block, stream] = kwargs["temb"].flatten(1)

    def keep_source(self, source: Any, module: Any, args: Any, output: Any) -> None:
        self._latest[source] = output.flatten(1)

    def collect_sources(self, block: int, module: Any, args: Any, output: Any) -> None:
        for stream, source in sources(self._name, self._transformer, module).items():
            self.modulation[self._visit, block, stream] = self._latest[source]


@contextmanager
def listening(pipeline: Any, name: str) -> Iterator[Listening]:
    """Hang hooks on the modules inside the blocks, and take them off afterwards."""
    heard, transformer = Listening(name, pipeline), pipeline.transformer
    handles = [transformer.register_forward_pre_hook(heard.count)]
    for number, block in enumerate(plain_hooks.blocks_of(pipeline)):
        for path in {path for path, _ in modules_of(name).values()}:
            if _has(block, path):
                module = block.get_submodule(path)
                handles.append(module.register_forward_hook(partial(heard.keep_output, number, path)))
        if name in plain_hooks.IMAGE_ONLY or name == "chroma":
            keep = heard.keep_argument if name == "chroma" else heard.keep_table
            handles.append(block.register_forward_pre_hook(partial(keep, number), with_kwargs=True))
            continue
        for source in set(sources(name, transformer, block).values()):
            handles.append(source.register_forward_hook(partial(heard.keep_source, source)))
        handles.append(block.register_forward_hook(partial(heard.collect_sources, number)))
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _has(block: torch.nn.Module, path: str) -> bool:
    return getattr(block, path, None) is not None
