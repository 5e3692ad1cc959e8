"""Every private name that ditscope uses is in the installed libraries, and is reached through one package."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import ditscope

SOURCE = Path(ditscope.__file__).parent
INTERNALS = SOURCE / "models" / "_internals"


NAMES = [
    ("nnsight.modeling.diffusion", "_PipelineModule"),
    ("nnsight.modeling.diffusion", "DiffusionModel._load"),
    ("nnsight.modeling.diffusion", "DiffusionModel._batch"),
    ("nnsight.intervention.envoy", "Envoy.interleave"),
    ("nnsight.intervention.envoy", "Envoy._update"),
    ("nnsight.intervention.envoy", "Envoy.modules"),
    ("nnsight.intervention.source", "Controller"),
    ("nnsight.intervention.source", "STATE"),
    ("nnsight.intervention.interleaver", "Interleaver.instrument"),
    ("nnsight.modeling.tp.fragments", "TPFragments"),
    ("diffusers", "DiffusionPipeline._optional_components"),
    ("nnsight.intervention.source", "State.routes"),
    ("nnsight.intervention.source", "State.body"),
    ("nnsight.intervention.source", "State.original"),
    ("nnsight.intervention.interleaver", "EarlyStopException"),
    ("nnsight.intervention.interleaver", "Mediator.current"),
    ("nnsight.intervention.eproperty", "eproperty.transform"),
    ("diffusers", "DiffusionPipeline._execution_device"),
    ("diffusers.hooks.hooks", "HookRegistry.get_hook"),
    ("diffusers.hooks.group_offloading", "ModuleGroup"),
    ("accelerate.hooks", "AlignDevicesHook"),
    ("torch.nn", "Module._compiled_call_impl"),
    ("torch.nn", "Module._save_to_state_dict"),
    ("torch.nn.modules.module", "_global_forward_hooks"),
    ("torch.nn.modules.module", "_global_forward_pre_hooks"),
    ("diffusers.models.attention_dispatch", "_AttentionBackendRegistry._active_backend"),
]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_private_name_is_there(module, name) -> None:
    value = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(value, part), f"the installed {module} has no {name}"
        value = getattr(value, part)


def private_names(path: Path) -> set[str]:
    """Names with one leading underscore that a file takes from something other than itself."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _stored(node)}
    defined |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and _named(node)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("ditscope"):
            used |= {alias.name for alias in node.names}
    return {name for name in used - defined if name.startswith("_") and not name.startswith("__")}


def _stored(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _named(node: ast.AnnAssign) -> bool:
    return isinstance(node.target, ast.Name)


def test_private_names_are_reached_through_one_package_only() -> None:
    allowed = {
        "_fields",  # of named tuples, documented
        "_replace",
        "_asdict",
        "_axinfo",  # of matplotlib, which no model runs on
        "_set_position",
    }
    others = {
        str(path.relative_to(SOURCE)): private_names(path) - allowed
        for path in SOURCE.rglob("*.py")
        if path.parent != INTERNALS
    }
    assert {path: names for path, names in others.items() if names} == {}
    assert any(private_names(path) for path in INTERNALS.glob("*.py"))
