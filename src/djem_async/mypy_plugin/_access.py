"""Checks the access methods of a model.

Types are only compared by the names of classes. mypy's own test for subtypes would cache answers
from before all types are complete. Only methods that are certainly wrong are reported.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from mypy.maptype import map_instance_to_supertype
from mypy.messages import format_type
from mypy.nodes import ARG_NAMED, ARG_OPT, ARG_POS, ARG_STAR, Decorator, FuncDef, OverloadedFuncDef
from mypy.semanal_infer import infer_decorator_signature_if_simple
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    TupleType,
    TypedDictType,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnionType,
    get_proper_type,
)

from ._project import ACCESS_METHOD, Project, did_you_mean
from ._report import ACCESS, Report

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from mypy.nodes import ArgKind, Context, SymbolNode, TypeInfo
    from mypy.options import Options
    from mypy.semanal_shared import SemanticAnalyzerInterface
    from mypy.types import Type

MODEL: Final = "django.db.models.base.Model"
_QUERYSET: Final = "django.db.models.query.QuerySet"
_CONDITIONS: Final = (
    "django.db.models.query_utils.Q",
    "django.db.models.expressions.Combinable",
    "django.db.models.expressions.BaseExpression",
)
_NO_INSTANCES: Final = (NoneType, TupleType, TypedDictType, CallableType, Overloaded, TypeType)


class _Signature(NamedTuple):
    kinds: Sequence[ArgKind]
    types: Sequence[Type]
    result: Type

    def bound(self, *, is_static: bool) -> _Signature:
        """Return the signature as it is called on an instance, without ``self``."""
        if is_static or not self.kinds or self.kinds[0] not in (ARG_POS, ARG_OPT):
            return self
        return _Signature(self.kinds[1:], self.types[1:], self.result)


def check_model(
    info: TypeInfo, project: Project, report: Report, analyzer: SemanticAnalyzerInterface
) -> None:
    """Report wrong access methods of a model, its own and those of its mixins.

    Args:
        info: The model.
        project: The Django project.
        report: Reports errors in the file of the model.
        analyzer: What is analysing that file.
    """
    for name, (definer, node) in _access_methods(info).items():
        is_own = definer is info
        place = _line_of(node) if is_own else info.defn
        title = f"{definer.name}.{name}"
        # An inherited method has been judged with the model that it comes from. Only those of
        # plain classes have not.
        judged = not is_own and any(
            base.has_base(MODEL) and base.has_base(definer.fullname) for base in info.mro[1:]
        )
        problem = (
            None
            if judged
            else _signature_problem(
                name, node, _signatures(node, analyzer), project, report.options
            )
        )
        if problem:
            report(f"{title}() {problem}", place, ACCESS)
        form, _, codename = cast("re.Match[str]", ACCESS_METHOD.fullmatch(name)).groups()
        if form == "q":
            _report_hidden(info, name, report)
        known = project.codenames.get(info.fullname)
        if known is None or codename in known:
            continue
        # It may be for a permission of another model: a parent object decides about ``add_child``.
        if not any(codename in others for others in project.codenames.values()):
            guess = did_you_mean(get_close_matches(codename, known, n=1))
            report(f'{title}: {info.name} has no permission "{codename}"{guess}', place, ACCESS)


def _access_methods(info: TypeInfo) -> dict[str, tuple[TypeInfo, SymbolNode]]:
    """Find the access methods of a class, each with the class that defines it."""
    found: dict[str, tuple[TypeInfo, SymbolNode]] = {}
    for base in info.mro:
        for name, symbol in base.names.items():
            if ACCESS_METHOD.fullmatch(name) and symbol.node is not None:
                found.setdefault(name, (base, symbol.node))
    return found


def _report_hidden(info: TypeInfo, query: str, report: Report) -> None:
    """Report a query form that is out of date, at the class that overrides the other form."""
    hiding = _hiding(info, query)
    parents = [base for base in info.mro[1:] if base.has_base(MODEL)]
    if hiding is None or any(_hiding(base, query) for base in parents):
        return
    definer, node = hiding
    report(
        f"{definer.name}.{node.name} overrides the access method without its query form, so lists"
        f' of {info.name} for this permission raise an error; define "{query}" in the same class',
        _line_of(node) if definer is info else info.defn,
        ACCESS,
    )


def _hiding(info: TypeInfo, query: str) -> tuple[TypeInfo, SymbolNode] | None:
    """Find the Python form that makes a query form out of date: one nearer to the class."""
    methods = _access_methods(info)
    if query not in methods:
        return None
    names = (query, query.replace("_q", "_", 1), query.replace("_q", "_a", 1))
    forms = [methods[name] for name in names if name in methods]
    # The first wins, if a class defines several.
    nearest = min(forms, key=lambda form: info.mro.index(form[0]))
    return None if nearest is methods[query] else nearest


def _line_of(node: SymbolNode) -> Context:
    return node.func if isinstance(node, Decorator) else node


def _signature_problem(
    name: str,
    node: SymbolNode,
    signatures: list[_Signature],
    project: Project,
    options: Options,
) -> str | None:
    """Describe mistakes in the signature of an access method, and the right signature."""
    form, source, _ = cast("re.Match[str]", ACCESS_METHOD.fullmatch(name)).groups()
    problems = [list(_problems(each, source, form, project, options)) for each in signatures]
    if form == "q" and not _may_be_class_method(node, signatures):
        problems = [["is not a class method", *each] for each in problems or [[]]]
    if not problems or not all(problems):
        return None  # one fitting overload is enough
    user = project.user[0].rpartition(".")[2] if project.user else "User"
    argument = f"user: {user}" if source == "user" else "groups: QuerySet[Group]"
    if form == "q":
        cure = f"@classmethod def {name}(cls, {argument}) -> Q"
    else:
        is_async = form == "a" or _awaited(signatures[0].result) is not None
        cure = f"{'async def' if is_async else 'def'} {name}(self, {argument}) -> bool"
    return f'{" and ".join(problems[0])}; write "{cure}"'


def _may_be_class_method(node: SymbolNode, signatures: list[_Signature]) -> bool:
    """Tell whether a query form is a class method, or may be one."""
    if isinstance(node, Decorator):
        # Any decorator but a property may return a class method.
        return node.func.is_class or not (signatures or node.var.is_property)
    return not isinstance(node, (FuncDef, OverloadedFuncDef)) or node.is_class


def _signatures(node: SymbolNode, analyzer: SemanticAnalyzerInterface) -> list[_Signature]:
    """Return the signatures of a method, several if it is overloaded, none if they are unknown."""
    if isinstance(node, FuncDef):
        if node.type is None:
            unknown = AnyType(TypeOfAny.unannotated)
            types = [unknown] * len(node.arg_kinds)
            return [_Signature(node.arg_kinds, types, unknown).bound(is_static=node.is_static)]
        return _bound(node.type, is_static=node.is_static)
    if isinstance(node, OverloadedFuncDef):
        return _bound(node.type, is_static=node.is_static)
    if isinstance(node, Decorator) and not node.var.is_property:
        if node.var.type is None:
            # It is not known yet, or the daemon has forgotten it. Unless the decorators are simple,
            # it stays so: then mypy finds it later.
            infer_decorator_signature_if_simple(node, analyzer)
        return _bound(node.var.type, is_static=node.func.is_static)
    return []


def _bound(typ: Type | None, *, is_static: bool) -> list[_Signature]:
    typ = get_proper_type(typ)
    return [
        _Signature(item.arg_kinds, item.arg_types, item.ret_type).bound(is_static=is_static)
        for item in (typ.items if isinstance(typ, (CallableType, Overloaded)) else [])
    ]


def _problems(
    signature: _Signature, source: str, form: str, project: Project, options: Options
) -> Iterator[str]:
    kinds, types, result = signature
    takers = [
        typ for kind, typ in zip(kinds, types, strict=True) if kind in (ARG_POS, ARG_OPT, ARG_STAR)
    ]
    if not takers:
        yield f"does not take the {source}{'s' if source == 'group' else ''}"
    elif kinds.count(ARG_POS) > 1 or ARG_NAMED in kinds:
        yield f"takes more than the {source}{'s' if source == 'group' else ''}"
    elif source == "user" and not _may_be(takers[0], project.user):
        yield f"takes {format_type(takers[0], options)}, which isn't compatible with the user model"
    elif source == "group" and not _may_be_groups(takers[0], project.groups):
        yield f"takes {format_type(takers[0], options)}, not a queryset of groups"
    if form == "q":
        if _awaited(result) is not None:
            yield f"returns {format_type(result, options)}, which is never awaited"
        elif not _is_condition(result):
            expected = '"Q", another conditional expression, "bool" or "None"'
            yield f"returns {format_type(result, options)}, not {expected}"
    elif not _is_answer(result):
        answer = _awaited(result) or result
        yield f'returns {format_type(answer, options)}, not "bool"'
    elif form == "a" and _is_known(result) and _awaited(result) is None:
        yield 'is not "async def", which its name requires'


def _may_be(typ: Type, names: Sequence[str]) -> bool:
    """Tell whether an instance of the first named class, a subclass of the rest, fits a type."""
    typ = get_proper_type(typ)
    if isinstance(typ, UnionType):
        return any(_may_be(item, names) for item in typ.items)
    if isinstance(typ, TypeVarType):
        return any(_may_be(item, names) for item in typ.values or [typ.upper_bound])
    if isinstance(typ, Instance):
        return typ.type.is_protocol or typ.type.fullname in names or not names
    return not isinstance(typ, (*_NO_INSTANCES, LiteralType))


def _may_be_groups(typ: Type, groups: Sequence[str]) -> bool:
    """Tell whether a queryset of groups fits a type."""
    typ = get_proper_type(typ)
    if isinstance(typ, UnionType):
        return any(_may_be_groups(item, groups) for item in typ.items)
    if isinstance(typ, Instance):
        if typ.type.has_base(_QUERYSET):
            queryset = next(base for base in typ.type.mro if base.fullname == _QUERYSET)
            return _may_be(map_instance_to_supertype(typ, queryset).args[0], groups)
        if typ.type.is_protocol:
            return all(_may_be(item, groups) for item in typ.args)
    return _may_be(typ, ["builtins.object"])


def _is_answer(typ: Type) -> bool:
    """Tell whether a type is a bool, or an awaitable of one."""
    typ = get_proper_type(typ)
    if isinstance(typ, UnionType):
        return all(_is_answer(item) for item in typ.items)
    awaited = _awaited(typ)
    return _is_bool(typ if awaited is None else awaited)


def _is_known(typ: Type) -> bool:
    return isinstance(get_proper_type(typ), (Instance, LiteralType))


def _awaited(typ: Type) -> Type | None:
    typ = get_proper_type(typ)
    if not isinstance(typ, Instance) or not typ.type.has_base("typing.Awaitable"):
        return None
    awaitable = next(base for base in typ.type.mro if base.fullname == "typing.Awaitable")
    return map_instance_to_supertype(typ, awaitable).args[0]


def _is_bool(typ: Type) -> bool:
    typ = get_proper_type(typ)
    if isinstance(typ, UnionType):
        return all(_is_bool(item) for item in typ.items)
    if isinstance(typ, LiteralType):
        typ = typ.fallback
    if isinstance(typ, Instance):
        return typ.type.fullname == "builtins.bool"
    return not isinstance(typ, _NO_INSTANCES)


def _is_condition(typ: Type) -> bool:
    """Tell whether a type is one that a query form may return."""
    typ = get_proper_type(typ)
    if isinstance(typ, UnionType):
        return all(_is_condition(item) for item in typ.items)
    if isinstance(typ, Instance) and any(typ.type.has_base(name) for name in _CONDITIONS):
        return True
    return isinstance(typ, NoneType) or _is_bool(typ)
