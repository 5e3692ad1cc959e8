"""A callback's digest: the same while it does the same, in every process, and another once anything it reaches is."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from diffusers.callbacks import SD3CFGCutoffCallback

from ditscope.tracing.callbacks import written_callback

SOURCE = '''
import functools
import torch

SHARE, TABLE = 0.5, {"image": [1, 2]}

def helper(x):
    return x * SHARE

def plain(pipe, step, t, tensors, factor=2, *, kind="a"):
    """Doc."""
    if kind in {"a", "b", "c", "d"}:
        return {"latents": helper(torch.relu(tensors["latents"])) * factor}
    return [TABLE for _ in range(3)]

def around(scale, tensor=None):
    return lambda pipe, step, t, tensors: {"latents": tensors["latents"] * scale + tensor}

class Object:
    def __init__(self, scale):
        self.scale = scale
    def __call__(self, pipe, step, t, tensors):
        return {"latents": tensors["latents"] * self.scale}
    def method(self, pipe, step, t, tensors):
        return {"latents": tensors["latents"] / self.scale}

def recursive(pipe, step, t, tensors):
    return recursive(pipe, step, t, tensors) if step else {}
'''

MAKE = {
    "a function": lambda m: m.plain,
    "a closure": lambda m: m.around(2, torch.ones(2)),
    "an object": lambda m: m.Object(2),
    "a method": lambda m: m.Object(2).method,
    "a partial": lambda m: functools.partial(m.plain, factor=3),
    "a recursion": lambda m: m.recursive,
    "diffusers' own": lambda m: SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1),
}

CHANGED = {
    "code": ("a function", "torch.relu", "torch.abs"),
    "a constant": ("a function", '"d"', '"e"'),
    "a default": ("a function", "factor=2", "factor=3"),
    "a default by name": ("a function", 'kind="a"', 'kind="b"'),
    "a number of the module": ("a function", "SHARE, TABLE = 0.5", "SHARE, TABLE = 0.6"),
    "a table of the module": ("a function", "[1, 2]", "[1, 3]"),
    "a function of the module": ("a function", "x * SHARE", "x / SHARE"),
    "the code of an object": ("an object", "* self.scale", "+ self.scale"),
    "the code of a method": ("a method", "/ self.scale", "- self.scale"),
}


def module(folder, source: str):
    path = folder / "mine.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("mine", path)
    loaded = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), loaded.__dict__)  # not from a compiled file of the same second
    return loaded


def digests(loaded) -> dict[str, str]:
    return {name: written_callback(make(loaded))["digest"] for name, make in MAKE.items()}


def test_digests_are_the_same_in_another_process(tmp_path) -> None:
    found = digests(module(tmp_path, SOURCE))
    assert len(set(found.values())) == len(found)
    script = (
        "import importlib.util, json, pathlib, sys; sys.path.insert(0, sys.argv[2]);"
        "import test_callbacks as t; print(json.dumps(t.digests(t.module(pathlib.Path(sys.argv[1]), t.SOURCE))))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), os.path.dirname(__file__)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == found


@pytest.mark.parametrize("what", CHANGED)
def test_a_digest_is_another_once_something_that_the_callback_reaches_is(tmp_path, what) -> None:
    name, old, new = CHANGED[what]
    assert SOURCE.count(old) == 1
    before = digests(module(tmp_path, SOURCE))
    assert digests(module(tmp_path, SOURCE)) == before
    assert digests(module(tmp_path, SOURCE.replace(old, new)))[name] != before[name]


def test_values_around_a_callback_count(tmp_path) -> None:
    mine = module(tmp_path, SOURCE)
    made = [
        mine.around(2, torch.ones(2)),
        mine.around(3, torch.ones(2)),
        mine.around(2, torch.zeros(2)),
        mine.Object(2),
        mine.Object(3),
        mine.Object(3).method,
        functools.partial(mine.plain, factor=3),
        functools.partial(mine.plain, factor=4),
        SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1),
        SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=2),
    ]
    assert len({written_callback(callback)["digest"] for callback in made}) == len(made)


def test_callbacks_have_names(tmp_path) -> None:
    mine = module(tmp_path, SOURCE)
    assert written_callback(mine.plain)["callback"] == "mine.plain"
    assert written_callback(mine.around(2))["callback"] == "mine.around.<locals>.<lambda>"
    assert written_callback(mine.Object(2))["callback"] == "mine.Object"
    assert written_callback(functools.partial(mine.plain))["callback"] == "mine.plain"
    own = written_callback(SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1))
    assert own["callback"] == "diffusers.callbacks.SD3CFGCutoffCallback"
    assert own["config"] == {"cutoff_step_ratio": None, "cutoff_step_index": 1}
