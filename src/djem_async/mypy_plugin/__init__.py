"""A mypy plugin that finds wrong access methods, permission names and unawaited checks.

List it alongside the plugin of django-stubs, in either order::

    [mypy]
    plugins = mypy_django_plugin.main, djem_async.mypy_plugin

It needs ``pip install djem-async[mypy]``, and nothing else of the library imports it. Whatever it
does not understand, it leaves alone: it must never be the reason that mypy fails.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from mypy.build import PRI_MYPY
from mypy.nodes import ARG_STAR, AssignmentStmt, NameExpr, TypeInfo
from mypy.plugin import Plugin
from mypy.types import NoneType, UnionType
from mypy.typevars import fill_typevars_with_any

from ._access import MODEL, check_model
from ._perms import names, required
from ._project import Project
from ._report import AWAIT, PERM, Report
from ._truth import Position, truth_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy.checker import TypeChecker
    from mypy.nodes import MypyFile, Statement
    from mypy.options import Options
    from mypy.plugin import (
        ClassDefContext,
        FunctionSigContext,
        MethodSigContext,
        ReportConfigContext,
    )
    from mypy.semanal import SemanticAnalyzer
    from mypy.types import CallableType, FunctionLike

# Without `AnonymousUser`: the type of `request.user` is a union of it and the user model, and each
# mistake should be reported once.
_USERS: Final = (
    "django.contrib.auth.models.PermissionsMixin",
    "djem_async.models.OLPMixin",
    "djem_async.protocols.SupportsObjectPermissions",
)
_VIEW_MIXINS: Final = (
    "django.contrib.auth.mixins.PermissionRequiredMixin",
    "djem_async.auth.mixins.ObjectPermissionRequiredMixin",
    "djem_async.auth.mixins.PermissionListMixin",
    "djem_async.auth.mixins.PermissionRequiredMixin",
)
_VIEW_DECORATORS: Final = (
    "django.contrib.auth.decorators.permission_required",
    "djem_async.auth.decorators.permission_required",
)
_CHECKS: Final = ("has_perm", "ahas_perm", "has_perms", "ahas_perms", "ahas_module_perms")
_MANY_CHECKS: Final = ("prefetch_perms", "aprefetch_perms")
_QUERYSET: Final = "djem_async.models.PermittedQuerySet"
_QUERYSET_METHODS: Final = ("permitted", "apermitted")
_SHORTCUTS: Final = tuple(
    f"djem_async.shortcuts.{prefix}{name}"
    for name in ("permitted", "get_objects_for_user", "get_object_for_user")
    for prefix in ("", "a")
)
_QUOTED: Final = re.compile(rb"""["'](\w+\.\w+)["']""")

# After the patches of mypy and django-stubs, which complete the types.
_PRIORITY: Final = 1000


class DjemPlugin(Plugin):
    """Checks access methods where a class is defined, and permissions where they are used."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._project = Project.load(options)
        self._config = {"project": self._project.digest(), "version": version("djem-async")}
        self._truth_values: tuple[list[Statement] | None, set[Position]] = (None, set())

    def report_config_data(self, ctx: ReportConfigContext) -> dict[str, str]:
        """Return what makes cached results stale when it changes."""
        return self._config

    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        """Have the models loaded whose permissions a file names.

        Otherwise it would depend on the rest of the build, and on the cache, whether they are.
        """
        source = b"" if file.is_stub else _source(file)
        quoted = {match[1].decode() for match in _QUOTED.finditer(source)}
        owners = (self._project.owners.get(perm, []) for perm in quoted)
        modules = {self._project.modules.get(owner, "") for found in owners for owner in found}
        return [(PRI_MYPY, module, -1) for module in sorted(modules - {"", file.fullname})]

    def get_customize_class_mro_hook(
        self, fullname: str
    ) -> Callable[[ClassDefContext], None] | None:
        """Judge models and views.

        Only for those, as the first plugin with a hook for a class gets it alone; django-stubs
        has hooks for other classes.
        """
        info = self._info(fullname)
        if info is None or info.has_base(MODEL) or _has_any_base(info, _VIEW_MIXINS):
            return self._schedule
        return None

    def get_method_signature_hook(
        self, fullname: str
    ) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Judge ``user.has_perm(…)`` and its relatives."""
        class_name, _, name = fullname.rpartition(".")
        is_known = name in _CHECKS + _MANY_CHECKS + _QUERYSET_METHODS
        info = self._info(class_name) if is_known else None
        if info is None:
            return None
        if name in _QUERYSET_METHODS:
            return self._check_list if self._makes_lists(info) else None
        return partial(self._check_call, name=name) if _has_any_base(info, _USERS) else None

    def get_function_signature_hook(
        self, fullname: str
    ) -> Callable[[FunctionSigContext], FunctionLike] | None:
        """Judge ``permission_required(…)``, and shortcuts such as ``get_objects_for_user(…)``."""
        if fullname in _SHORTCUTS:
            return self._check_list
        return self._check_decorator if fullname in _VIEW_DECORATORS else None

    def _info(self, fullname: str) -> TypeInfo | None:
        symbol = self.lookup_fully_qualified(fullname)
        return symbol.node if symbol is not None and isinstance(symbol.node, TypeInfo) else None

    def _makes_lists(self, info: TypeInfo) -> bool:
        """Tell whether a class is a `PermittedQuerySet`, or a manager made from one."""
        made_from = info.metadata.get("django", {}).get("from_queryset_manager")
        queryset = self._info(made_from) if isinstance(made_from, str) else info
        return queryset is not None and queryset.has_base(_QUERYSET)

    def _schedule(self, ctx: ClassDefContext) -> None:
        """Have a class judged when its types are known."""
        api = cast("SemanticAnalyzer", ctx.api)
        report = Report(api.errors)
        info = ctx.cls.info
        if info.has_base(MODEL):
            judge = partial(check_model, info, self._project, report, api)
            api.schedule_patch(_PRIORITY, judge)
        elif _has_any_base(info, _VIEW_MIXINS):
            api.schedule_patch(_PRIORITY, partial(self._check_view, info, report))

    def _check_view(self, info: TypeInfo, report: Report) -> None:
        for statement in info.defn.defs.body:
            if isinstance(statement, AssignmentStmt) and any(
                isinstance(target, NameExpr) and target.name == "permission_required"
                for target in statement.lvalues
            ):
                for perm, node in required(statement.rvalue):
                    if problem := self._project.problem_of(perm):
                        report(problem, node, PERM)

    def _check_decorator(self, ctx: FunctionSigContext) -> FunctionLike:
        # Django's takes several names as one sequence, ours as several arguments.
        is_ours = ctx.default_signature.arg_kinds[0] is ARG_STAR
        for argument in ctx.args[0]:
            for perm, node in list(required(argument))[: 1 if is_ours else None]:
                if problem := self._project.problem_of(perm):
                    ctx.api.fail(problem, node, code=PERM)
        return ctx.default_signature

    def _check_list(self, ctx: FunctionSigContext | MethodSigContext) -> FunctionLike:
        """Judge the permission, which is the second argument, after the user."""
        for argument in chain.from_iterable(ctx.args[1:2]):
            for perm, node in names(argument):
                if problem := self._project.problem_of(perm):
                    ctx.api.fail(problem, node, code=PERM)
        return ctx.default_signature

    def _check_call(self, ctx: MethodSigContext, name: str) -> FunctionLike:
        if name.startswith("ahas_") and self._takes_truth_value(ctx):
            ctx.api.fail(
                f'"{name}(...)" was not awaited; write "await user.{name}(...)"',
                ctx.context,
                code=AWAIT,
            )
        signature = ctx.default_signature
        if name == "ahas_module_perms" or not ctx.args:
            return signature
        perms: list[str] = []
        for argument in ctx.args[0]:
            for perm, node in names(argument):
                if problem := self._project.problem_of(perm):
                    ctx.api.fail(problem, node, code=PERM)
                elif perm in self._project.owners:
                    perms.append(perm)
        return self._narrowed(signature, perms) if perms else signature

    def _narrowed(self, signature: CallableType, perms: list[str]) -> CallableType:
        """Let the object be of the models that own all permissions, and leave the rest to mypy."""
        models = [self._info(owner) for owner in sorted(self._project.owners_of(perms))]
        if "obj" not in signature.arg_names or None in models:
            return signature
        types = list(signature.arg_types)
        types[signature.arg_names.index("obj")] = UnionType.make_union(
            [*(fill_typevars_with_any(model) for model in models if model), NoneType()]
        )
        narrowed: CallableType = cast("Any", signature).copy_modified(arg_types=types)
        return narrowed

    def _takes_truth_value(self, ctx: MethodSigContext) -> bool:
        # The result is cached for the file that is being checked. The daemon changes the tree of a
        # file in place, but gives it a new list of statements.
        tree = cast("TypeChecker", ctx.api).tree
        if self._truth_values[0] is not tree.defs:
            source = _source(tree)
            self._truth_values = (tree.defs, truth_values(source) if source else set())
        call = ctx.context
        position = (call.line, call.column, call.end_line, call.end_column)
        return position in self._truth_values[1]


def plugin(_version: str) -> type[Plugin]:
    """Return the plugin, for mypy.

    Args:
        _version: The version of mypy.
    """
    return DjemPlugin


def _source(file: MypyFile) -> bytes:
    """Read a file; what is checked need not be one."""
    path = Path(file.path)
    return path.read_bytes() if path.is_file() else b""


def _has_any_base(info: TypeInfo, fullnames: Iterable[str]) -> bool:
    return any(info.has_base(name) for name in fullnames)
