"""Finds the calls in a file that are used as a truth value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Position: TypeAlias = tuple[int, int, int | None, int | None]


def truth_values(source: bytes) -> set[Position]:
    """Find the calls that are used as a truth value.

    This uses Python's syntax tree, because mypy doesn't let plugins visit its own.

    Args:
        source: The text of the file.

    Returns:
        Where they begin and end, as mypy counts it.
    """
    return {
        (call.lineno, call.col_offset, call.end_lineno, call.end_col_offset)
        for node in ast.walk(ast.parse(source))
        for expression in _conditions(node)
        for call in _calls(expression)
    }


def _conditions(node: ast.AST) -> Iterable[ast.expr]:
    """Return the expressions whose truth value a node needs."""
    match node:
        case ast.If() | ast.IfExp() | ast.While() | ast.Assert():
            return [node.test]
        case ast.BoolOp():
            return node.values[:-1]  # the last one is the result, whatever its truth value
        case ast.UnaryOp(op=ast.Not()):
            return [node.operand]
        case ast.comprehension():
            return node.ifs
        case ast.match_case(guard=ast.expr() as guard):
            return [guard]
        case ast.Call(func=ast.Name("bool")):
            return node.args
        case ast.Call(
            func=ast.Name("all" | "any"), args=[ast.List() | ast.Tuple() | ast.Set() as items]
        ):
            return items.elts
        case ast.Call(
            func=ast.Name("all" | "any"),
            args=[ast.ListComp() | ast.SetComp() | ast.GeneratorExp() as comprehension],
        ):
            return [comprehension.elt]
        case _:
            return []


def _calls(expression: ast.expr) -> Iterator[ast.Call]:
    """Find the calls that may be the value of an expression."""
    match expression:
        case ast.Call():
            yield expression
        case ast.NamedExpr():
            yield from _calls(expression.value)
        case ast.IfExp():
            yield from _calls(expression.body)
            yield from _calls(expression.orelse)
        case ast.BoolOp():
            yield from _calls(expression.values[-1])
        case _:
            pass
