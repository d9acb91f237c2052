"""The changes that can be made to the package."""

from __future__ import annotations

import ast
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from .operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "djem_async"
# The plugin of mypy runs in another process, and has tests of another kind.
LEFT_OUT = ("mypy_plugin",)

# Of the forty ways in which cosmic-ray can replace a comparison, those that differ most and least.
COMPARISONS = (
    "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is",
    "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
)  # fmt: skip
NAMES = (
    *(f"ReplaceComparisonOperator_{kind}" for kind in COMPARISONS),
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
)


class Mutant(NamedTuple):
    """A change of one place."""

    module: str
    operator: str
    occurrence: int
    line: int
    last_line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.operator}: {self.before} -> {self.after}"

    @property
    def key(self) -> str:
        """What identifies it as long as its lines are not changed, wherever they stand."""
        return f"{self.module} {self.operator}: {self.before} -> {self.after}"

    @property
    def fingerprint(self) -> str:
        """What identifies it as long as its module is not changed."""
        source = path_of(self.module).read_bytes()
        return sha256(b"%b %d %b" % (source, self.line, self.key.encode())).hexdigest()


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules() -> list[str]:
    found = sorted(module_of(path) for path in PACKAGE.rglob("*.py"))
    return [name for name in found if not any(word in name for word in LEFT_OUT)]


def operators() -> Iterator[tuple[str, Any]]:
    for name in NAMES:
        yield name, get_operator(f"core/{name}")()
    for kind in OPERATORS:
        yield kind.__name__, kind()


@lru_cache
def operator_named(name: str) -> Any:
    return dict(operators())[name]


def source_with(mutant: Mutant) -> str:
    """Return the source of the module with the change in it."""
    source = path_of(mutant.module).read_text()
    changed = mutate_code(source, operator_named(mutant.operator), mutant.occurrence)
    assert changed is not None
    return str(changed)


def mutants_of(module: str) -> Iterator[Mutant]:
    """List all changes of a module that do something when it runs."""
    source = path_of(module).read_text()
    lines = source.splitlines()
    idle = idle_lines(source)
    seen = {ast.dump(ast.parse(source))}
    for name, operator in operators():
        positions = [
            position
            for node in ast_nodes(get_ast(source))
            for position in operator.mutation_positions(node)
        ]
        for occurrence, ((line, _), (last_line, _)) in enumerate(positions):
            if line in idle:
                continue
            changed = mutate_code(source, operator, occurrence)
            try:
                tree = ast.dump(ast.parse(changed or ""))
            except SyntaxError:
                continue
            if changed is None or tree in seen:
                continue
            seen.add(tree)  # two operators may make the same change
            before, after = difference(lines, changed.splitlines())
            yield Mutant(module, name, occurrence, line, last_line, before, after)


def difference(old: list[str], new: list[str]) -> tuple[str, str]:
    """Return the first lines that differ."""
    for before, after in zip(old, new, strict=False):
        if before != after:
            return before.strip(), after.strip()
    return old[-1].strip(), ""


def idle_lines(source: str) -> set[int]:
    """Number the lines that only type checkers and readers see."""
    found: set[int] = set()

    def add(node: Any) -> None:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        found.update(range(first, node.end_lineno + 1))

    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                add(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if any(getattr(each, "id", "") == "overload" for each in node.decorator_list):
                    add(node)
            case ast.ClassDef(bases=bases) if any("Protocol" in ast.dump(b) for b in bases):
                add(node)
            case ast.AnnAssign(value=None) | ast.Import() | ast.ImportFrom():
                add(node)
            case ast.Expr(value=ast.Constant(value=str())):
                add(node)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
                add(node)
            case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
                add(node)
    return found
