"""Finds the permissions that expressions name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy.nodes import (
    ListExpr,
    MemberExpr,
    RefExpr,
    SetExpr,
    StrExpr,
    TupleExpr,
    TypeInfo,
    Var,
)
from mypy.types import Instance, TupleType, get_proper_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy.nodes import Expression


def names(expression: Expression) -> Iterator[tuple[str, Expression]]:
    """Find the literal strings in an argument: one, a constant, or those of a sequence.

    A constant is ``Final``, or a member of an enum.

    Args:
        expression: The argument.
    """
    if isinstance(expression, StrExpr):
        yield expression.value, expression
    elif isinstance(expression, RefExpr):
        value = _constant(expression)
        if isinstance(value, str):
            yield value, expression
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


def _constant(expression: RefExpr) -> object:
    if isinstance(expression.node, Var):
        return expression.node.final_value
    if isinstance(expression, MemberExpr) and isinstance(expression.expr, RefExpr):
        enum = expression.expr.node
        if isinstance(enum, TypeInfo) and enum.is_enum:
            return _value_of(enum, expression.name)
    return None


def _value_of(enum: TypeInfo, name: str) -> object:
    """Return the value of a member of an enum, without the label that Django's may have."""
    symbol = enum.names.get(name)
    typ = get_proper_type(symbol.node.type if symbol and isinstance(symbol.node, Var) else None)
    if isinstance(typ, TupleType) and typ.items:
        typ = get_proper_type(typ.items[0])
    literal = typ.last_known_value if isinstance(typ, Instance) else None
    return literal and literal.value
