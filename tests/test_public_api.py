"""What users may import, how they may call it, and what the distribution consists of."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module, metadata
from inspect import Parameter, Signature, getdoc, isclass, isfunction, signature
from operator import attrgetter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.db.models import NOT_PROVIDED

import djem_async
from djem_async import auth, logs

ROOT = Path(__file__).parents[1]

# Every public class and function, and the public methods that a class adds to those of its bases.
# ruff: noqa: E501
API = """
access.AccessDecorators
access.AccessDecorators.group(self, method, /)
access.AccessDecorators.q_group(self, method, /)
access.AccessDecorators.q_user(self, method, /)
access.AccessDecorators.user(self, method, /)
access.nonblocking(method)
access.without_model_level(method=None, /, *, anonymous=False)
auth.Lookup
auth.ModelBackend
auth.ModelBackend.aget_all_permissions(self, user_obj, obj=None)
auth.ModelBackend.aget_group_permissions(self, user_obj, obj=None)
auth.ModelBackend.aget_user_permissions(self, user_obj, obj=None)
auth.ModelBackend.ahas_perm(self, user_obj, perm, obj=None)
auth.ModelBackend.get_all_permissions(self, user_obj, obj=None)
auth.ModelBackend.get_group_permissions(self, user_obj, obj=None)
auth.ModelBackend.get_user_permissions(self, user_obj, obj=None)
auth.ModelBackend.has_perm(self, user_obj, perm, obj=None)
auth.ModelBackend.with_perm(self, perm, is_active=True, include_superusers=True, obj=None)
auth.ObjectPermissionRequiredMixin
auth.ObjectPermissionsBackend
auth.ObjectPermissionsBackend.aauthenticate(self, request, **credentials)
auth.ObjectPermissionsBackend.aget_all_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.aget_group_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.aget_user_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.ahas_perm(self, user_obj, perm, obj=None)
auth.ObjectPermissionsBackend.authenticate(self, request, **credentials)
auth.ObjectPermissionsBackend.get_all_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.get_group_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.get_user_permissions(self, user_obj, obj=None)
auth.ObjectPermissionsBackend.has_perm(self, user_obj, perm, obj=None)
auth.ObjectPermissionsBackend.with_perm(self, perm, is_active=True, include_superusers=True, obj=None)
auth.PermissionListMixin
auth.PermissionRequiredMixin
auth.PermissionRequiredMixin.ahas_permission(self, view_kwargs)
auth.PermissionRequiredMixin.has_permission(self, view_kwargs)
auth.permission_required(*perms, login_url=None, raise_exception=None)
contrib.admin.ObjectPermissionsAdmin
contrib.admin.ObjectPermissionsAdmin.check(self, **kwargs)
contrib.admin.ObjectPermissionsAdmin.get_actions(self, request, action_location=None)
contrib.admin.ObjectPermissionsAdmin.get_changelist_formset(self, request, **kwargs)
contrib.admin.ObjectPermissionsAdmin.get_deleted_objects(self, objs, request)
contrib.admin.ObjectPermissionsAdmin.get_form(self, request, obj=None, change=False, **kwargs)
contrib.admin.ObjectPermissionsAdmin.get_list_filter(self, request)
contrib.admin.ObjectPermissionsAdmin.has_change_permission(self, request, obj=None)
contrib.admin.ObjectPermissionsAdmin.has_delete_permission(self, request, obj=None)
contrib.admin.ObjectPermissionsAdmin.has_view_permission(self, request, obj=None)
contrib.admin.ObjectPermissionsAdmin.save_form(self, request, form, change)
contrib.admin.ObjectPermissionsInline
contrib.admin.ObjectPermissionsInline.check(self, **kwargs)
contrib.admin.ObjectPermissionsInline.get_formset(self, request, obj=None, **kwargs)
contrib.logging.log_check(explanation, **_kwargs)
exceptions.AsyncMethodError
exceptions.NoQueryFormError
exceptions.NotADecisionError
exceptions.PermissionRecursionError
explain.Explanation
explain.Explanation.as_dict(self)
explain.Reason
logs.Entry
logs.Loggable
logs.Loggable.aend_log(self)
logs.Loggable.discard_log(self)
logs.Loggable.end_log(self)
logs.Loggable.get_last_log(self, tags=None, raw=False)
logs.Loggable.get_log(self, name, tags=None, raw=False)
logs.Loggable.log(self, *lines, tag=None)
logs.Loggable.start_log(self, name)
middleware.SharedUserMiddleware(get_response)
models.OLPMixin
models.OLPMixin.aclear_perm_cache(self)
models.OLPMixin.aexplain_perm(self, perm, obj=...)
models.OLPMixin.aget_all_permissions(self, obj=None)
models.OLPMixin.aget_group_permissions(self, obj=None)
models.OLPMixin.aget_user_permissions(self, obj=None)
models.OLPMixin.ahas_module_perms(self, app_label)
models.OLPMixin.ahas_perm(self, perm, obj=...)
models.OLPMixin.ahas_perms(self, perm_list, obj=...)
models.OLPMixin.aprefetch_perms(self, perms, objects)
models.OLPMixin.clear_perm_cache(self)
models.OLPMixin.explain_perm(self, perm, obj=...)
models.OLPMixin.get_all_permissions(self, obj=None)
models.OLPMixin.get_group_permissions(self, obj=None)
models.OLPMixin.get_user_permissions(self, obj=None)
models.OLPMixin.has_module_perms(self, app_label)
models.OLPMixin.has_perm(self, perm, obj=...)
models.OLPMixin.has_perms(self, perm_list, obj=...)
models.OLPMixin.perm_cache_scope(self)
models.OLPMixin.prefetch_perms(self, perms, objects)
models.OLPMixin.refresh_from_db(self, using=None, fields=None, from_queryset=None)
models.PermittedQuerySet
models.PermittedQuerySet.apermitted(self, user, perm)
models.PermittedQuerySet.permitted(self, user, perm)
protocols.AsyncGroupAccessMethod
protocols.AsyncGroupAccessMethod.__call__(self, groups, /)
protocols.AsyncUserAccessMethod
protocols.AsyncUserAccessMethod.__call__(self, user, /)
protocols.GroupAccessMethod
protocols.GroupAccessMethod.__call__(self, groups, /)
protocols.GroupQueryForm
protocols.GroupQueryForm.__call__(self, groups, /)
protocols.SupportsLogging
protocols.SupportsLogging.discard_log(self)
protocols.SupportsLogging.end_log(self)
protocols.SupportsLogging.get_last_log(self, tags=None, raw=False)
protocols.SupportsLogging.get_log(self, name, tags=None, raw=False)
protocols.SupportsLogging.log(self, *lines, tag=None)
protocols.SupportsLogging.start_log(self, name)
protocols.SupportsObjectPermissions
protocols.SupportsObjectPermissions.aclear_perm_cache(self)
protocols.SupportsObjectPermissions.ahas_perm(self, perm, obj=None)
protocols.SupportsObjectPermissions.ahas_perms(self, perm_list, obj=None)
protocols.SupportsObjectPermissions.clear_perm_cache(self)
protocols.SupportsObjectPermissions.has_perm(self, perm, obj=None)
protocols.SupportsObjectPermissions.has_perms(self, perm_list, obj=None)
protocols.UserAccessMethod
protocols.UserAccessMethod.__call__(self, user, /)
protocols.UserQueryForm
protocols.UserQueryForm.__call__(self, user, /)
shortcuts.aget_object_for_user(user, perm, klass, *args, **kwargs)
shortcuts.aget_objects_for_user(user, perm, klass=None)
shortcuts.apermitted(user, perm, model)
shortcuts.get_object_for_user(user, perm, klass, *args, **kwargs)
shortcuts.get_objects_for_user(user, perm, klass=None)
shortcuts.permitted(user, perm, model)
test.aassert_denied(user, perm, obj=..., *, reason=None)
test.aassert_granted(user, perm, obj=..., *, reason=None)
test.agrant(user, *perms)
test.arevoke(user, *perms)
test.assert_denied(user, perm, obj=..., *, reason=None)
test.assert_granted(user, perm, obj=..., *, reason=None)
test.assert_lists_agree(perm, users, queryset)
test.capture_checks()
test.grant(user, *perms)
test.revoke(user, *perms)
"""
MODULES = [
    *("access", "auth", "exceptions", "logs", "middleware", "models", "protocols", "shortcuts"),
    *("contrib.admin", "contrib.logging", "explain", "test"),
]
SEE = r"\b[Ss]ee\s+`([\w.]+)`"
COMMON = {each.dest for each in BaseCommand().create_parser("manage.py", "any")._actions}


def shape(function: Any) -> str:
    """Return a signature without its types, which type checkers test; ``...`` is no value."""
    found = signature(function)
    bare = [each.replace(annotation=Parameter.empty) for each in found.parameters.values()]
    text = str(found.replace(parameters=bare, return_annotation=Signature.empty))
    return text.replace(repr(NOT_PROVIDED), "...")


def public_in(module: str) -> Iterator[tuple[str, Any]]:
    """Find what a module lists in ``__all__``, else what it defines."""
    found = import_module(f"djem_async.{module}")
    for name in getattr(found, "__all__", vars(found)):
        member = getattr(found, name)
        is_own = hasattr(found, "__all__") or getattr(member, "__module__", "") == found.__name__
        if is_own and not name.startswith("_") and (isclass(member) or isfunction(member)):
            yield f"{module}.{name}", member


def methods_of(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if isfunction(member) and (not name.startswith("_") or name == "__call__"):
            yield name, member


def test_public_names_and_signatures():
    public = dict(each for module in MODULES for each in public_in(module))
    assert public.pop("models.Loggable") is logs.Loggable
    found = []
    for name, member in public.items():
        assert member.__doc__, f"{name} is not documented"
        found.append(name if isclass(member) else name + shape(member))
        for method, function in methods_of(member) if isclass(member) else ():
            assert function.__doc__, f"{name}.{method} is not documented"
            found.append(f"{name}.{method}{shape(function)}")

    assert sorted(found) == sorted(API.split("\n")[1:-1])
    assert shape(logs.Entry) == "(text='', tags=())"
    with pytest.raises(AttributeError, match=r"module 'djem_async.auth' has no attribute 'Other'"):
        auth.Other  # noqa: B018


def undocumented(member: Any) -> set[str]:
    """Return the parameters that a docstring leaves out without referring to another one."""
    text = getdoc(member) or ""
    own = member if isfunction(member) else vars(member).get("__init__")
    is_made = getattr(own, "__name__", "").startswith("_no_init")  # of a protocol
    if own is None or is_made or re.search(SEE, text):
        return set()
    given = set(signature(member).parameters) - {"self", "_kwargs"}
    return given - set(re.findall(r"^ +\*{0,2}(\w+): ", text, re.MULTILINE))


def referred(name: str, *places: Any) -> Any:
    """Find what a docstring refers to: in its class, its module or Django, or by a dotted name."""
    for place in (*places, import_module("django.contrib.admin.options")):
        with suppress(AttributeError):
            return attrgetter(name)(place)
    return resolve_name(name)


def test_parameters_are_documented():
    for module in MODULES:
        found = import_module(f"djem_async.{module}")
        for name, member in public_in(module):
            methods = dict(methods_of(member)) if isclass(member) else {}
            for function in (member, *methods.values()):
                assert not undocumented(function), f"{name}: {function}"
                for each in re.findall(SEE, getdoc(function) or ""):
                    assert callable(referred(each, member, found)), each


def reference_of(module: str) -> str:
    page = f"{module.replace('.', '-').replace('_', '-')}.md"
    return (ROOT / "docs" / "reference" / "api" / page).read_text(encoding="utf-8")


def test_reference_shows_every_docstring():
    names = {name for module in MODULES for name, _ in public_in(module)} - {"models.Loggable"}
    contrib = Path(djem_async.__file__).parent / "contrib"
    for path in contrib.glob("*/__init__.py"):  # some need other packages
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                listed = ast.literal_eval(node.value)
                names |= {f"contrib.{path.parent.name}.{name}" for name in listed}
    names.add("signals.permission_checked")

    shown = set()
    index = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    for module in {name.rpartition(".")[0] for name in names}:
        blocks = r"^## (\w+)\n\n```{eval-rst}\n\.\. auto\w+:: djem_async\.([\w.]+)$"
        for heading, name in re.findall(blocks, reference_of(module), re.MULTILINE):
            assert name == f"{module}.{heading}"
            assert f"#{heading.lower()})" in index or f"`{heading}`" in index, f"api.md: {name}"
            shown.add(name)
    assert shown == names


def test_reference_has_commands_and_template_tags():
    package = Path(djem_async.__file__).parent
    commands = {path.stem for path in package.glob("management/commands/[a-z]*.py")}
    tags = set(import_module("djem_async.templatetags.djem_async").register.tags)
    for module, names in (("commands", commands), ("template-tags", tags)):
        assert set(re.findall(r"^## (\w+)$", reference_of(module), re.MULTILINE)) == names
    for command in commands:
        parser = load_command_class("djem_async", command).create_parser("manage.py", command)
        for each in parser._actions:
            shown = each.option_strings[-1] if each.option_strings else (each.metavar or each.dest)
            if each.dest not in COMMON:
                assert re.search(
                    rf"^\| `{shown}\b", reference_of("commands"), re.MULTILINE | re.IGNORECASE
                ), shown


def files_of_the_distribution() -> set[Path]:
    files = metadata.files("djem-async") or []
    return {Path(file) for file in files if file.suffix != ".pyc"}


def test_distribution_holds_the_package_and_nothing_else():
    source = {file for file in (ROOT / "src").rglob("*") if file.is_file()}
    expected = {
        file.relative_to(ROOT / "src") for file in source if file.parent.name != "__pycache__"
    }
    dist_info = f"djem_async-{djem_async.__version__}.dist-info"
    files = files_of_the_distribution()
    assert {file for file in files if file.parts[0] != dist_info} == expected
    assert Path("djem_async/py.typed") in files
    assert metadata.version("djem-async") == djem_async.__version__


def test_only_django_and_asgiref_are_required():
    required = [line for line in metadata.requires("djem-async") or [] if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0].lower() for line in required} == {"django", "asgiref"}


def test_classifiers_name_the_versions_that_are_tested():
    matrix = next(
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DJANGO"
    )
    tested = {f"Programming Language :: Python :: {python}" for python in matrix}
    tested |= {f"Framework :: Django :: {django}" for row in matrix.values() for django in row}
    classifiers = metadata.metadata("djem-async").get_all("Classifier") or []
    named = {line for line in classifiers if re.search(r":: (Python|Django) :: [\d.]+$", line)}
    assert named - {"Programming Language :: Python :: 3"} == tested
