"""The Python that draws a figure of a report: the very call, as it stands in the source, with all that it names."""

from __future__ import annotations

import ast
import builtins
import linecache
import warnings
from collections.abc import Mapping
from types import FrameType, ModuleType
from typing import Any

_LONGEST = 600  # characters of a value that is written out


def code_of_figure(frame: FrameType, opening: str) -> str:
    """Python that makes the first argument of the call of ``.figure(...)`` that a frame is at.

    Names in it come before it: plain values as they are, functions by their imports, other values by the statement of
    the same function that made them.

    Args:
        frame: of the caller.
        opening: Python that makes what the function was given, such as ``result``.

    Returns:
        The code, or nothing where the argument is no call, or there is no source, as in an interactive session.
    """
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    # Of a call over several lines Python versions place the beginning differently, the end alike.
    _, line, _, column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a stranger's source
        tree = ast.parse(source)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (call.end_lineno, call.end_col_offset) == (line, column):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method == "figure" and call.args and isinstance(call.args[0], ast.Call):
                names = _Names(frame, source, tree, call.lineno)
                names.of(call.args[0])
                drawn = f"figure = {_text(source, call.args[0])}"
                head = [*names.imports, *opening.splitlines(), *names.values]
                return "\n".join([*dict.fromkeys(head), "", drawn]).lstrip()
    return ""


class _Names:
    """What makes the names of an expression: imports, and values in the order in which they are needed."""

    def __init__(self, frame: FrameType, source: str, tree: ast.AST, line: int) -> None:
        self._known: Mapping[str, Any] = {**vars(builtins), **frame.f_globals, **frame.f_locals}
        self._source, self._line = source, line
        self._made = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and frame.f_code.co_firstlineno <= node.lineno < line
        }
        self.imports: list[str] = []
        self.values: list[str] = []
        self._seen: set[str] = set(vars(builtins))

    def of(self, expression: ast.AST) -> None:
        """Add what an expression names."""
        names = [node for node in ast.walk(expression) if isinstance(node, ast.Name)]
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        for name in [node.id for node in names if isinstance(node.ctx, ast.Load)]:
            if name in self._seen | stored or name not in self._known:
                continue
            self._seen.add(name)
            value = self._known[name]
            home = value.__name__.rpartition(".")[0] if isinstance(value, ModuleType) else None
            if home is None and callable(value):
                home = getattr(value, "__module__", None)
            if home:
                self.imports.append(f"from {home} import {name}")
            elif _is_plain(value) and len(repr(value)) <= _LONGEST:
                self.values.append(f"{name} = {value!r}")
            elif name in self._made:
                self.of(self._made[name])
                self.values.append(f"{name} = {_text(self._source, self._made[name])}")


def _is_plain(value: Any) -> bool:
    """Whether Python's own notation of a value makes it again."""
    if not isinstance(value, str | int | float | list | tuple | dict | None):
        return False
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError):
        return False


def _text(source: str, node: ast.expr) -> str:
    """An expression as it is written, moved to the left."""
    first, *rest = (ast.get_source_segment(source, node) or ast.unparse(node)).splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    return "\n".join([first, *(line[indent:] for line in rest)])
