"""Every named fault point of the package, read from its source: a new one is covered from its first day."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_CALL = "faults.point("


def fault_points(package: Path) -> dict[str, str]:
    """The names given to ``faults.point`` below ``package``, each with the room it is passed in (``pool``, ``rank``).

    A name with a part that the caller chooses, ``f"{step}.copied"``, stands for one name per caller.

    Raises:
        ValueError: a name cannot be worked out by reading, so that it would silently stay uncovered.
    """
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py"))}
    found: dict[str, str] = {}
    for file, text in texts.items():
        if _CALL not in text:
            continue
        room = file.relative_to(package).parts[0].removesuffix(".py")
        for function, call in _calls(ast.parse(text), None):
            if ast.unparse(call.func) == _CALL.removesuffix("("):
                found |= dict.fromkeys(_names(call.args[0], function, texts, file), room)
    return dict(sorted(found.items()))


def _calls(node: ast.AST, inside: _Function | None) -> Iterator[tuple[_Function | None, ast.Call]]:
    """Every call below ``node`` with the function it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, child if isinstance(child, _Function) else inside)


def _names(argument: ast.expr, function: _Function | None, texts: Mapping[Path, str], file: Path) -> list[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return [argument.value]
    if isinstance(argument, ast.JoinedStr) and function is not None:
        variables = [part.value for part in argument.values if isinstance(part, ast.FormattedValue)]
        if len(variables) == 1 and isinstance(variables[0], ast.Name):
            given = _given(function, variables[0].id, texts)
            return ["".join(_text(part, value) for part in argument.values) for value in given]
    raise ValueError(f"{file}:{argument.lineno}: the name of this fault point cannot be read")


def _given(function: _Function, parameter: str, texts: Mapping[Path, str]) -> list[str]:
    """What the package's own calls of a function give for a parameter."""
    at = [argument.arg for argument in function.args.args].index(parameter)
    values = set()
    for text in texts.values():
        if f"{function.name}(" not in text:
            continue
        for _, call in _calls(ast.parse(text), None):
            if ast.unparse(call.func).rpartition(".")[2] == function.name:
                by_name = [keyword.value for keyword in call.keywords if keyword.arg == parameter]
                chosen = by_name[0] if by_name else call.args[at]
                if isinstance(chosen, ast.Constant):
                    values.add(str(chosen.value))
    return sorted(values)


def _text(part: ast.expr, value: str) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else value
