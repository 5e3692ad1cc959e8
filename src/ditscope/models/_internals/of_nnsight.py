"""Private names of nnsight: its model of a pipeline, served at some modules only, and what it says of a module."""

from __future__ import annotations

import dis
import functools
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, MethodType
from typing import Any

import torch
from nnsight.intervention.eproperty import eproperty
from nnsight.intervention.interleaver import EarlyStopException, Interleaver, Mediator
from nnsight.intervention.source import STATE
from nnsight.modeling.diffusion import DiffusionModel, _PipelineModule
from nnsight.modeling.tp.fragments import TPFragments

from ditscope.errors import InputError, UnsupportedError
from ditscope.models._internals.forwards import (
    FOUND_FORWARD,
    down_to_traced,
    is_traced,
    put_aside,
    put_back,
    rewrap,
)

EarlyStop = EarlyStopException
"""What nnsight stops a run with, after ``tracer.stop()``."""

PipelineModule = _PipelineModule
"""A module whose forward runs a pipeline, and whose children are the pipeline's networks."""


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
        put_back(module)
        own = module.__dict__
        outermost = own.get("forward")
        hook = own.pop("_hf_hook", None)  # nnsight takes no notice of what accelerate's hook wraps
        *wrappers, wrapped = down_to_traced(module)
        if wrappers:
            own["forward"] = wrapped
        if STATE not in own:
            own[FOUND_FORWARD] = own.get("forward")
        super().instrument(envoy)
        if hook is not None:
            own["_hf_hook"] = hook
        if wrappers:
            rewrap(module, wrappers[-1], own["forward"])
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
            *wrappers, forward = down_to_traced(module)
            if not is_traced(forward):  # taken away by others, or kept inside a wrapper of theirs
                continue
            if wrappers:
                rewrap(module, wrappers[-1], found or MethodType(type(module).forward, module))
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
                    put_aside(module)
        try:
            yield
        finally:
            for module, state, own in passed:
                taken_up_anew = any(route[0]() is self.interleaver for route in state.routes)
                if not taken_up_anew:
                    state.routes = [*state.routes, *own]
                put_back(module)

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
