"""Operators that cosmic-ray does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import parso
from cosmic_ray.operators.operator import Example, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Position = tuple[tuple[int, int], tuple[int, int]]


def replaced(node: Any, code: str) -> Any:
    """Return other code with the white space that is in front of a node."""
    return parso.parse(node.get_first_leaf().prefix + code)


class RemoveStatement(Operator):
    """Puts ``pass`` in the place of an assignment, a call, a ``raise`` or a ``del``."""

    KINDS = ("expr_stmt", "atom_expr", "await", "raise_stmt", "del_stmt")

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type in self.KINDS and node.parent.type in {"simple_stmt", "suite"}:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return replaced(node, "pass")

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("a = b\n", "pass\n"), Example("f(1)\n", "pass\n"))


class ReturnNone(Operator):
    """Returns None instead of something."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "return_stmt" and node.children[1].get_code().strip() != "None":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return replaced(node, "return None")

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("def f(): return a", "def f(): return None"),)


class InvertMembership(Operator):
    """Swaps ``in`` and ``not in``."""

    @staticmethod
    def is_membership(operator: Any) -> bool:
        return operator.get_code().split() in (["in"], ["not", "in"])

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type == "comparison":
            for operator in node.children[1::2]:
                if self.is_membership(operator):
                    yield operator.start_pos, operator.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        found = [n for n in range(1, len(node.children), 2) if self.is_membership(node.children[n])]
        position = found[index]
        is_in = node.children[position].get_code().split() == ["in"]
        node.children[position] = parso.parse(" not in" if is_in else " in")
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("a in b", "a not in b"), Example("a not in b", "a in b"))


class DropOperand(Operator):
    """Keeps one side of ``and`` or ``or`` alone."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if node.type in {"and_test", "or_test"}:
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        kept = [operand for n, operand in enumerate(node.children[::2]) if n != index]
        word = node.children[1].value
        code = f" {word} ".join(operand.get_code().strip() for operand in kept)
        # In brackets: what is kept may go over several lines.
        return parso.parse(f"{prefix}({code})")

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("a and b", "(b)"), Example("a or b or c", "(a or c)", 1))


OPERATORS = (RemoveStatement, ReturnNone, InvertMembership, DropOperand)
