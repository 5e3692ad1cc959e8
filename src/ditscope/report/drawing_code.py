"""The Python that draws a figure of a report: the very call, as it stands in the source, with all that it names."""

from __future__ import annotations

import ast
import builtins
import dis
import linecache
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType, ModuleType
from typing import Any

_LONGEST = 600  # characters of a value that is written out
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPE = (*_FUNCTION, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def code_of_figure(frame: FrameType, opening: str) -> str:
    """Python that makes the first argument of the call of ``.figure(...)`` that a frame is at.

    Names in it come before it: plain values as they are, what modules have by its import, other values by the one
    statement of the same function that made them.

    Args:
        frame: of the caller.
        opening: Python that makes what the function was given, such as ``result``.

    Returns:
        The code, or nothing where the argument is no call, a name in it cannot be made so, or there is no source (any
        more), as in an interactive session.
    """
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    # Of a call over several lines Python versions place the beginning differently, the end alike.
    _, line, _, column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's source
            tree = ast.parse(source)
            given = _named(compile(opening, "<opening>", "exec"), {"STORE_NAME"})
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and (call.end_lineno, call.end_col_offset) == (line, column):
                method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
                if method == "figure" and call.args and isinstance(call.args[0], ast.Call):
                    names = _Names(frame, source, _statements_before(tree, call), given, call.lineno)
                    if names.of(call.args[0]):
                        drawn = f"figure = {_text(source, call.args[0])}"
                        head = [*names.imports, *opening.splitlines(), *names.values]
                        return "\n".join([*head, "", drawn]).lstrip()
    except (SyntaxError, ValueError):  # of a file that was edited since it was run
        pass
    return ""


class _Names:
    """What makes the names of an expression: imports, and values in the order in which they are needed."""

    def __init__(
        self, frame: FrameType, source: str, before: list[ast.AST], given: list[str], line: int
    ) -> None:
        self._known: Mapping[str, Any] = {**vars(builtins), **frame.f_globals, **frame.f_locals}
        self._source, self._given = source, given
        self._bound = Counter(map(_bound, before))
        self._made = {
            target.id: node.value
            for node in before
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and node.lineno < line
        }
        self.imports: list[str] = []
        self.values: list[str] = []
        self._has: dict[str, bool] = {}

    def of(self, expression: ast.expr, *, earlier: bool = False) -> bool:
        """Add what an expression names, and say whether that is all; an earlier one may have seen other values."""
        names = _named(compile(ast.Expression(expression), "<figure>", "eval"), {"LOAD_NAME", "LOAD_GLOBAL"})
        return all(not (earlier and self._bound[name] > 1) and self._can(name) for name in names)

    def _can(self, name: str) -> bool:
        if name not in self._has:
            self._has[name] = False  # while it is made: nothing is made of itself
            self._has[name] = name in self._known and self._add(name, self._known[name])
        return self._has[name]

    def _add(self, name: str, value: Any) -> bool:
        if name in self._given:
            return self._bound[name] < 2
        if value is vars(builtins).get(name, self):
            return True
        home = getattr(value, "__module__", None)
        if isinstance(value, ModuleType):
            self.imports.append(f"import {value.__name__}" + f" as {name}" * (name != value.__name__))
        elif (
            isinstance(home, str)
            and home != "__main__"
            and getattr(sys.modules.get(home), name, None) is value
        ):
            self.imports.append(f"from {home} import {name}")
        elif _is_plain(value) and len(repr(value)) <= _LONGEST:
            self.values.append(f"{name} = {value!r}")
        elif self._bound[name] == 1 and name in self._made and self.of(self._made[name], earlier=True):
            self.values.append(f"{name} = {_text(self._source, self._made[name])}")
        else:
            return False
        return True


def _named(code: CodeType, does: set[str]) -> list[str]:
    """Names that compiled code, and what is nested in it, loads or stores: without those of its own scopes."""
    own = [step.argval for step in dis.get_instructions(code) if step.opname in does]
    return own + [
        name for each in code.co_consts if isinstance(each, CodeType) for name in _named(each, does)
    ]


def _statements_before(tree: ast.AST, call: ast.Call) -> list[ast.AST]:
    """The nodes of the function that a call is in which have run before it, without those of functions inside."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= call.lineno <= (node.end_lineno or 0)
    ]
    function = max((node for node in around if isinstance(node, _FUNCTION)), key=_line, default=tree)
    loops = [
        node for node in around if isinstance(node, ast.For | ast.While) and node.lineno > _line(function)
    ]
    end = max((node.end_lineno or 0 for node in loops), default=call.lineno - 1)
    return [node for node in _of_scope(function) if _line(node) <= end]


def _of_scope(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPE):
            yield child
            yield from _of_scope(child)


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _bound(node: ast.AST) -> str:
    """The name that a node binds, or changes an item or attribute of."""
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(getattr(node, "ctx", None), ast.Store):
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return node.id if isinstance(node, ast.Name) else ""
    return ""


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
