"""Finds the permissions that expressions name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy.nodes import ListExpr, RefExpr, SetExpr, StrExpr, TupleExpr, Var

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy.nodes import Expression


def names(expression: Expression) -> Iterator[tuple[str, Expression]]:
    """Find the literal strings in an argument: one, a constant, or those of a sequence.

    Args:
        expression: The argument.
    """
    if isinstance(expression, StrExpr):
        yield expression.value, expression
    elif isinstance(expression, RefExpr):
        if isinstance(expression.node, Var) and isinstance(expression.node.final_value, str):
            yield expression.node.final_value, expression
    elif isinstance(expression, (ListExpr, TupleExpr, SetExpr)):
        for item in expression.items:
            yield from names(item)


def required(expression: Expression) -> Iterator[tuple[str, Expression]]:
    """Find the permissions that a view requires, of which some may be pairs with an argument.

    Args:
        expression: What the view requires.
    """
    if isinstance(expression, (ListExpr, TupleExpr, SetExpr)):
        for item in expression.items:
            yield from list(names(item))[:1]
    else:
        yield from names(expression)
