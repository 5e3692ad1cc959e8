"""Every private name of nnsight, diffusers, accelerate and torch that ditscope uses, behind a plain one.

Nothing else may reach such a name: ``tests/models/test__internals.py`` looks each of them up in the installed
versions, so that an upgrade that takes one away fails there and says which.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from types import FrameType, FunctionType, MethodType
from typing import Any

import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import EarlyStopException, Interleaver, Mediator
from nnsight.intervention.source import STATE, Controller
from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule
from nnsight.modeling.tp.fragments import TPFragments
from torch.nn.modules import module as torch_modules

from ditscope.errors import InputError, UnsupportedError

# nnsight

EarlyStop = EarlyStopException
"""What nnsight stops a run with, after ``tracer.stop()``."""

PipelineModule = _PipelineModule
"""A module whose forward runs a pipeline, and whose children are the pipeline's networks."""


FOUND_FORWARD = "__ditscope_found__"
"""Where a module keeps what was in the place of nnsight's forward before it was opened: None for its class's own."""


ASIDE = "__ditscope_aside__"
"""Where a module keeps nnsight's forward while nothing is asked of nnsight there."""


class _Interleaver(Interleaver):
    """nnsight's, which also knows how to take its forwards away from the modules again.

    accelerate's and diffusers' wrappers go around nnsight's forward whether they were there first or not, as both
    libraries take a wrapper off by putting back what it wraps.
    """

    def __init__(self) -> None:
        super().__init__(fragments=TPFragments())  # as nnsight does it
        self._modules: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()

    @property
    def instrumented(self) -> set[torch.nn.Module]:
        """The modules at which it serves."""
        return set(self._modules)

    def instrument(self, envoy: Any) -> None:
        module = module_of(envoy)
        self._modules.add(module)
        _put_back(module)
        own = module.__dict__
        outermost = own.get("forward")
        hook = own.pop("_hf_hook", None)  # nnsight takes no notice of what accelerate's hook wraps
        *wrappers, wrapped = _down_to_traced(module)
        if wrappers:
            own["forward"] = wrapped
        if STATE not in own:
            own[FOUND_FORWARD] = own.get("forward")
        super().instrument(envoy)
        if hook is not None:
            own["_hf_hook"] = hook
        if wrappers:
            _rewrap(module, wrappers[-1], own["forward"])
            own["forward"] = outermost

    def let_go(self) -> None:
        """Put back what was there before, where no other model reads the module."""
        for module in self._modules:
            own = module.__dict__
            state = own[STATE]
            state.routes = [route for route in state.routes if route[0]() not in (None, self)]
            if state.routes or FOUND_FORWARD not in own:  # somebody else put nnsight's there
                continue
            found = own.pop(FOUND_FORWARD)
            del own[STATE]
            *wrappers, forward = _down_to_traced(module)
            if not is_traced(forward):  # taken away by others, or kept inside a wrapper of theirs
                continue
            if wrappers:
                _rewrap(module, wrappers[-1], found or MethodType(type(module).forward, module))
            elif found is None:
                del own["forward"]
            else:
                own["forward"] = found


class OpenedPipeline(DiffusionModel):
    """nnsight's model of a pipeline, for which a subclass says what module runs the pipeline.

    Args:
        source: what diffusers loads, or a pipeline in memory, which is taken as it is.
        **kwargs: of nnsight and of ``from_pretrained``.
    """

    interleaver: _Interleaver

    def __init__(self, source: Any, **kwargs: Any) -> None:
        super().__init__(source, interleaver=_Interleaver(), dispatch=True, **kwargs)

    def callable_module(self) -> torch.nn.Module:
        """The module whose forward runs ``self.pipeline``, once that is loaded."""
        raise NotImplementedError

    def let_go(self, instead: torch.nn.Module) -> None:
        """Take everything of nnsight's away from the pipeline's modules, and stand for another module."""
        self._update(instead)
        self.interleaver.let_go()
        self.pipeline, self.args = None, ()
        self.kwargs.clear()

    @contextmanager
    def serving(self, envoys: Iterable[Any]) -> Iterator[None]:
        """While inside, nnsight serves at these envoys' modules and at the pipeline, and stops at no other.

        Stopping at each of a pipeline's modules, where nothing is asked, is most of what a trace costs; most of the
        rest is to ask each time whether anything is.
        """
        served = {self._module, *map(module_of, envoys)}
        passed: list[tuple[torch.nn.Module, Any, list[Any]]] = []
        for module in self.interleaver.instrumented - served:
            state = module.__dict__[STATE]
            own = [route for route in state.routes if route[0]() is self.interleaver]
            if own:
                state.routes = [route for route in state.routes if route not in own]
                passed.append((module, state, own))
                if not state.routes:
                    _put_aside(module)
        try:
            yield
        finally:
            for module, state, own in passed:
                taken_up_anew = any(route[0]() is self.interleaver for route in state.routes)
                if not taken_up_anew:
                    state.routes = [*state.routes, *own]
                _put_back(module)

    def before_run(self) -> None:
        """Called before each run, and before nnsight starts what is written in a trace."""
        raise NotImplementedError

    @property
    def n_persistent_edits(self) -> int:
        """How many edits of nnsight's own (``edit()``) act in every run."""
        return len(self._edits)

    def follow(self, module: torch.nn.Module) -> bool:
        """Let the envoys stand for what is in a module now, each kept where its place is; whether any did not.

        Raises:
            UnsupportedError: one module had two places, and has been replaced in one of them.
        """
        if _stands_for(self, module):
            return False
        present = set(module.modules())
        for envoy in self.modules():
            if envoy is not self and envoy._module not in present:  # its place is another module's
                state = envoy._module.__dict__[STATE]
                state.routes = [route for route in state.routes if route[0]() is not self.interleaver]
        with warnings.catch_warnings():
            # A hook of diffusers around nnsight's forward is no harm; what is, is refused before visits are read.
            warnings.filterwarnings("ignore", ".*`forward` was replaced after nnsight wrapped")
            self._update(module)
        if not _stands_for(self, module):
            raise UnsupportedError(
                "a module that had two places in the pipeline, replaced in one of them",
                "one place for each module that is replaced",
                "Load afresh, with the modules as they are to be.",
            )
        return True

    def interleave(self, fn: Any, *args: Any, batcher: Any = None, **kwargs: Any) -> Any:
        if batcher is None:  # nnsight has found no with block
            _refuse_unread_block(sys._getframe(1))
        self.before_run()
        return super().interleave(fn, *args, batcher=batcher, **kwargs)

    def _load(self, repo_id: Any, *args: Any, automodel: Any = None, **kwargs: Any) -> torch.nn.Module:
        if isinstance(repo_id, str):
            super()._load(repo_id, *args, automodel=automodel, **kwargs)
        else:
            self.pipeline = repo_id
        return self.callable_module()

    def _batch(self, invokes: list[Any], fn: Any) -> tuple[Any, Any]:
        for inputs, kwargs in invokes:
            prompt = inputs[0] if inputs else kwargs.get("prompt")
            # nnsight would drop the prompt, and the image be of the embeddings.
            if prompt is not None and kwargs.get("prompt_embeds") is not None:
                raise InputError("prompt_embeds beside a prompt", "one of them", "Leave one of them out.")
        return super()._batch(invokes, fn)


def _put_aside(module: torch.nn.Module) -> None:
    """Let a module run its class's forward, if nnsight's is in its place with nothing around or inside it."""
    own = module.__dict__
    forward: Any = own.get("forward")
    plain = is_traced(forward) and forward.state.body is forward.state.original
    if plain and "_hf_hook" not in own and own.get(FOUND_FORWARD, forward) is None:
        own[ASIDE] = own.pop("forward")


def _put_back(module: torch.nn.Module) -> None:
    """Let nnsight's forward run again, inside what has been put around the class's meanwhile."""
    own = module.__dict__
    if (forward := own.pop(ASIDE, None)) is None:
        return
    if "forward" not in own:
        own["forward"] = forward
    elif wrappers := _down_to_traced(module)[:-1]:
        _rewrap(module, wrappers[-1], forward)


def is_aside(module: torch.nn.Module) -> bool:
    """Whether nnsight's forward is put aside, where nothing is read in a run."""
    return ASIDE in module.__dict__


def is_open(module: torch.nn.Module) -> bool:
    """Whether a model that was not closed reads the module."""
    state = module.__dict__.get(STATE)
    return state is not None and any(isinstance(route[0](), _Interleaver) for route in state.routes)


def _stands_for(envoy: Any, module: torch.nn.Module) -> bool:
    """Whether the envoys below one stand for the modules that are in a module, name by name."""
    envoys, n_children = envoy._child_map, 0
    for name, child in module._modules.items():
        if child is None:
            continue
        below = envoys.get(name)
        if below is None or below._module is not child:
            return False
        if (child._modules or below._child_map) and not _stands_for(below, child):
            return False
        n_children += 1
    return n_children == len(envoys)


def _refuse_unread_block(frame: FrameType | None) -> None:
    """Refuse a run that is the head of a ``with`` block whose body nnsight did not find: it would run first."""
    while frame is not None and frame.f_globals.get("__name__", "").startswith("nnsight."):
        frame = frame.f_back
    if frame is None or not _enters_block(frame):
        return
    raise InputError(
        f"a with block in {frame.f_code.co_filename}, line {frame.f_lineno}, whose source nnsight cannot find",
        "a with block in a file or in a notebook cell without %%time and the like, since nnsight runs its source",
        "Put the code in a file and run that by its name, or take the magic off the cell; "
        "where nothing is read or written inside, call it without with.",
    )


def _enters_block(frame: FrameType) -> bool:
    """Whether what the frame is calling is entered by a ``with`` statement as soon as it is there."""
    following = (each.opname for each in dis.get_instructions(frame.f_code) if each.offset > frame.f_lasti)
    first, second = next(following, ""), next(following, "")
    # Python 3.14 looks the methods up on a copy instead.
    return first == "BEFORE_WITH" or (first, second) == ("COPY", "LOAD_SPECIAL")


def torch_hooks(module: torch.nn.Module) -> tuple[bool, bool]:
    """Whether torch's own forward pre-hooks and forward hooks are on the module, or on all; nnsight reads inside."""
    return (
        bool(module._forward_pre_hooks or torch_modules._global_forward_pre_hooks),
        bool(module._forward_hooks or torch_modules._global_forward_hooks),
    )


def forward_hooks(module: torch.nn.Module | None) -> list[Callable[..., Any]]:
    """Torch's own forward hooks on a module, or those on all modules."""
    if module is None:
        return [
            *torch_modules._global_forward_pre_hooks.values(),
            *torch_modules._global_forward_hooks.values(),
        ]
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def with_forward_hooks(members: Iterable[tuple[str, torch.nn.Module]]) -> list[tuple[str, torch.nn.Module]]:
    """The modules with forward hooks of torch's on them."""
    return [each for each in members if each[1]._forward_hooks or each[1]._forward_pre_hooks]


def module_of(envoy: Any) -> Any:
    """The module that an envoy stands for."""
    return envoy._module


def served_property(
    key: str, description: str, take: Callable[[Any, Any], Any], give_back: Callable[[Any, Any, Any], Any]
) -> Any:
    """A property of an envoy that is one object until anything else is asked of nnsight.

    Args:
        key: ``input`` or ``output``: what nnsight serves there is called ``raw`` below.
        description: what an envoy's repr says of it.
        take: ``(envoy, raw)`` -> the object.
        give_back: ``(envoy, object, raw)`` -> what the model goes on with.
    """
    return eproperty(key=key, description=description)(take).transform(give_back)


@contextmanager
def of_occurrence(what: str, number: int) -> Iterator[None]:
    """Let what is asked of nnsight be of the ``number``-th call of a module in the run.

    nnsight would serve the next call that comes, and in the first visit always the first.
    """
    worker = Mediator.current(what)
    before = worker.iteration
    worker.iteration = number
    try:
        yield
    finally:
        worker.iteration = before


@contextmanager
def running_instead(module: torch.nn.Module, instead: Callable[..., Any]) -> Iterator[None]:
    """Let calls of a module run ``instead(forward, *args, **kwargs)``, inside all that is around its own forward."""
    state = module.__dict__[STATE]
    own = state.body
    state.body = lambda module, *args, **kwargs: instead(functools.partial(own, module), *args, **kwargs)
    try:
        yield
    finally:
        state.body = own


def is_traced(forward: Any) -> bool:
    """Whether a forward is the one by which nnsight reads its module."""
    return isinstance(forward, Controller)


def runs_own_forward(module: torch.nn.Module) -> bool:
    """Whether a module runs its class's forward, with nothing around it but nnsight's; told without a search."""
    forward, written = module.__dict__.get("forward"), type(module).forward
    if forward is None:
        return isinstance(written, FunctionType)
    original = forward.state.original if type(forward) is Controller else forward
    return original is written or (
        type(original) is MethodType and original.__func__ is written and original.__self__ is module
    )


# diffusers


def compute_device(pipeline: Any) -> torch.device:
    """Where a pipeline computes, which offloading makes another place than where weights are kept."""
    # diffusers looks for hooks module by module, in 2 ms for the embedded pipeline, which several ask for in a run.
    parts = [each for each in pipeline.components.values() if isinstance(each, torch.nn.Module)]
    # A run leaves an empty registry of hooks on the transformer.
    if any("_hf_hook" in vars(each) or diffusers_hooks(each) for each in modules_in(parts)):
        return torch.device(pipeline._execution_device)
    # Then it is where the first tensor of one of the networks is: diffusers says of which, in four times the time.
    devices = {next(chain(each.parameters(), each.buffers()), torch.empty(0)).device for each in parts}
    return devices.pop() if len(devices) == 1 else torch.device(pipeline.device)


def optional_components(pipeline_class: Any) -> list[str]:
    """Parts that a pipeline of a class may be without."""
    return pipeline_class._optional_components


def diffusers_hooks(module: torch.nn.Module) -> Mapping[str, Any]:
    """Name -> hook, of diffusers' hooks on a module."""
    registry = module.__dict__.get("_diffusers_hook")
    return registry.hooks if registry is not None else {}


GROUP_OFFLOAD = "group_offloading"

OFFLOADING_HOOKS = (GROUP_OFFLOAD, "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""Hooks of diffusers that move weights and change no number."""

WEIGHT_HOOKS = (*OFFLOADING_HOOKS, "layerwise_casting")
"""Hooks of diffusers after which a module's weights are not what they were when it ran."""

HARMLESS_HOOKS = (*WEIGHT_HOOKS, "peft_autocast_disable")
"""Hooks of diffusers that leave every block running in every step. Others cache, skip or repeat blocks."""


def attention_backend() -> str:
    """The attention that diffusers runs where a module asks for none."""
    return str(_AttentionBackendRegistry._active_backend.value)


def disk_group(module: torch.nn.Module) -> tuple[str, Mapping[torch.Tensor, str]] | None:
    """File and keys of the group of weights that group offload keeps on disk for a module, if it does."""
    group: Any = getattr(diffusers_hooks(module).get(GROUP_OFFLOAD), "group", None)
    if getattr(group, "offload_to_disk_path", None) is None:
        return None
    return group.safetensors_file_path, group.tensor_to_key


def prefetches(module: torch.nn.Module) -> bool:
    """Whether group offload fetches a module's weights ahead, in the order in which modules ran before."""
    group: Any = getattr(diffusers_hooks(module).get(GROUP_OFFLOAD), "group", None)
    return getattr(group, "stream", None) is not None


# accelerate


def hooked(members: Iterable[tuple[str, torch.nn.Module]]) -> list[tuple[str, torch.nn.Module]]:
    """The modules on which accelerate or diffusers has hooks of its own, or had them."""
    return [
        (name, module)
        for name, module in members
        if "_hf_hook" in module.__dict__ or "_diffusers_hook" in module.__dict__
    ]


def accelerate_hooks(module: torch.nn.Module) -> Iterator[Any]:
    """Accelerate's hooks on a module that keep its weights elsewhere: ``weights_map``, ``place_submodules``."""
    hook = module.__dict__.get("_hf_hook")
    if hook is None:
        return
    parts = getattr(hook, "hooks", (hook,))  # accelerate wraps several in one
    yield from (
        p for p in parts if getattr(p, "offload", False) and getattr(p, "weights_map", None) is not None
    )


# torch


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether ``torch.compile`` or ``module.compile()`` changed what runs."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def members_of(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """``module.named_modules()`` as a list, in a third of the time."""
    found, seen = [("", module)], {id(module)}

    def add(prefix: str, owner: torch.nn.Module) -> None:
        for name, child in owner._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append((prefix + name, child))
                if child._modules:
                    add(f"{prefix}{name}.", child)

    add("", module)
    return found


def children_of(module: torch.nn.Module) -> Mapping[str, torch.nn.Module | None]:
    """A module's own submodules by name."""
    return module._modules


def modules_in(modules: Iterable[torch.nn.Module]) -> Iterable[torch.nn.Module]:
    """Modules and all inside them, each once: without their names, in a third of the time of :func:`members_of`."""
    found = dict.fromkeys(modules)
    level = list(found)
    while level:
        inside = [
            child
            for module in level
            if (own := module._modules)
            for child in own.values()
            if child is not None
        ]
        level = [child for child in dict.fromkeys(inside) if child not in found]
        found.update(dict.fromkeys(level))
    return found


def tensors_of(
    members: Iterable[tuple[str, torch.nn.Module]],
) -> tuple[list[tuple[str, torch.Tensor]], list[tuple[str, torch.Tensor]]]:
    """The modules' parameters and buffers by name, each once, as ``named_parameters`` and ``named_buffers`` have them.

    torch walks through all modules for each of the two, and hashes tensors, in six times the time.
    """
    kept: tuple[dict[int, tuple[str, torch.Tensor]], ...] = ({}, {})
    for prefix, module in members:
        held: tuple[Mapping[str, torch.Tensor | None], ...] = (module._parameters, module._buffers)
        for by_id, own in zip(kept, held, strict=True):
            if not own:
                continue
            for name, tensor in own.items():
                if tensor is not None and id(tensor) not in by_id:
                    by_id[id(tensor)] = (f"{prefix}.{name}" if prefix else name, tensor)
    return list(kept[0].values()), list(kept[1].values())


def parameters_of(modules: Iterable[torch.nn.Module]) -> list[torch.Tensor]:
    """The modules' parameters without their names; those of several come several times."""
    return [value for each in modules for value in each._parameters.values() if value is not None]


def attribute_of(module: torch.nn.Module, name: str) -> Any:
    """An attribute or submodule, or None; of ``getattr``, which takes ten times as long where there is none."""
    kind = type(module)
    if (
        name in module.__dict__
        or name in module._modules
        or hasattr(kind, name)
        or kind.__getattr__ is not _FINDS
    ):
        return getattr(module, name, None)
    return None


_FINDS = torch.nn.Module.__getattr__


def write_count(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; 0 in inference mode, where torch does not count."""
    return 0 if tensor.is_inference() else tensor._version


def saves_more(modules: Sequence[torch.nn.Module]) -> bool:
    """Whether state dicts of all these modules may have more names than their parameters and buffers, each once."""
    plain = torch.nn.Module
    kinds: set[type[torch.nn.Module]] = {type(module) for module in modules}
    for kind in kinds:
        own = kind._save_to_state_dict, kind.get_extra_state, kind.state_dict
        if own != (plain._save_to_state_dict, plain.get_extra_state, plain.state_dict):
            return True
    buffers: list[int] = []
    below: list[torch.nn.Module] = []
    for module in modules:
        held = module.__dict__
        if held["_state_dict_hooks"] or held["_state_dict_pre_hooks"]:
            return True
        if "_save_to_state_dict" in held or "get_extra_state" in held or "state_dict" in held:
            return True
        if held["_buffers"]:
            buffers += [id(buffer) for buffer in module._buffers.values() if buffer is not None]
        if held["_modules"]:
            below += [child for child in module._modules.values() if child is not None]
    if len(set(buffers)) < len(buffers):
        return True
    if len(set(below)) == len(below):
        return False
    twice = [child for child, times in Counter(below).items() if times > 1]
    return any(True for child in twice for _ in child.buffers())


def inner_tensors(tensor: torch.Tensor) -> tuple[list[str], Any] | None:
    """Attributes that hold what a quantized tensor is made of, and its scheme; None for a plain tensor."""
    return tensor.__tensor_flatten__() if hasattr(tensor, "__tensor_flatten__") else None


# all of them


def wrapped_forward(forward: Any) -> Any:
    """The forward that nnsight's, accelerate's or diffusers' wrapper runs; None if it is none of them."""
    if is_traced(forward):
        return forward.state.original
    # Nothing that a wrapper says of itself counts: it took its name and module over from what it wraps.
    home = home_of(forward)
    if isinstance(forward, functools.partial):
        if home == "accelerate.hooks":
            return forward.__dict__["__wrapped__"]
        if home == "diffusers.hooks.hooks":
            kept = _kept_by_diffusers(forward)
            return kept.original_forward or kept.forward
    elif inspect.isfunction(forward) and home == "nnsight.intervention.source":
        return inspect.getclosurevars(forward).nonlocals["forward"]
    return None


def home_of(forward: Any) -> str:
    """The module in which the code of a forward is written."""
    if isinstance(forward, functools.partial):
        return home_of(forward.func)
    function = getattr(forward, "__func__", forward)
    return getattr(function, "__globals__", {}).get("__name__") or type(function).__module__


def _kept_by_diffusers(wrapper: Any) -> Any:
    """What a wrapper of diffusers' hooks calls: ``forward``, and ``original_forward`` if that is the hook's own."""
    return inspect.getclosurevars(wrapper.func).nonlocals["function_reference"]


def _down_to_traced(module: torch.nn.Module) -> list[Any]:
    """The module's forward and what it wraps, from the outside in, down to nnsight's or to what is no wrapper."""
    chain = [module.forward]
    while not is_traced(chain[-1]) and (inner := wrapped_forward(chain[-1])) is not None:
        chain.append(inner)
    return chain


def _rewrap(module: torch.nn.Module, wrapper: Any, forward: Any) -> None:
    """Let a wrapper of accelerate's or diffusers' on a module wrap another forward."""
    for name in ("module_ref", "state"):  # taken over from nnsight's
        wrapper.__dict__.pop(name, None)
    wrapper.__dict__["__wrapped__"] = forward
    if home_of(wrapper) == "accelerate.hooks":
        module.__dict__["_old_forward"] = forward
    else:
        kept = _kept_by_diffusers(wrapper)
        name = "forward" if kept.original_forward is None else "original_forward"
        setattr(kept, name, forward)
