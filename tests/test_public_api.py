"""What users may import, how they may call it, and what the package on their disk consists of."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module, metadata
from inspect import Parameter, Signature, isclass, isfunction, signature
from pathlib import Path
from typing import Any

import pytest

import djem_async

ROOT = Path(__file__).parents[1]

ON_OBJECT = "(self, user_obj, obj=None)"

# Every public name. A function stands with its signature; a class with how it is made, None where
# that is not its own affair, and the signatures of the public methods that it defines.
FUNCTIONS = {
    "auth.permission_required": "(*perms, login_url=None, raise_exception=None)",
    "access.nonblocking": "(method)",
    "middleware.SharedUserMiddleware": "(get_response)",
}
CLASSES: dict[str, tuple[str | None, dict[str, str]]] = {
    "access.AccessDecorators": (None, {"user": "(self, method, /)", "group": "(self, method, /)"}),
    "auth.ObjectPermissionsBackend": (
        "()",
        {
            "authenticate": "(self, request, **credentials)",
            "aauthenticate": "(self, request, **credentials)",
            "has_perm": "(self, user_obj, perm, obj=None)",
            "ahas_perm": "(self, user_obj, perm, obj=None)",
            "get_user_permissions": ON_OBJECT,
            "aget_user_permissions": ON_OBJECT,
            "get_group_permissions": ON_OBJECT,
            "aget_group_permissions": ON_OBJECT,
            "get_all_permissions": ON_OBJECT,
            "aget_all_permissions": ON_OBJECT,
        },
    ),
    "auth.PermissionRequiredMixin": (
        None,
        {
            "get_permission_required": "(self)",
            "has_permission": "(self, view_kwargs)",
            "ahas_permission": "(self, view_kwargs)",
            "dispatch": "(self, request, *args, **kwargs)",
        },
    ),
    "models.OLPMixin": (
        None,
        {
            "has_perm": "(self, perm, obj=None)",
            "ahas_perm": "(self, perm, obj=None)",
            "ahas_perms": "(self, perm_list, obj=None)",
            "get_user_permissions": "(self, obj=None)",
            "aget_user_permissions": "(self, obj=None)",
            "get_group_permissions": "(self, obj=None)",
            "aget_group_permissions": "(self, obj=None)",
            "get_all_permissions": "(self, obj=None)",
            "aget_all_permissions": "(self, obj=None)",
            "has_module_perms": "(self, app_label)",
            "ahas_module_perms": "(self, app_label)",
            "clear_perm_cache": "(self)",
            "aclear_perm_cache": "(self)",
        },
    ),
    "logs.Loggable": (
        None,
        {
            "start_log": "(self, name)",
            "end_log": "(self)",
            "aend_log": "(self)",
            "discard_log": "(self)",
            "log": "(self, *lines, tag=None)",
            "get_log": "(self, name, tags=None, raw=False)",
            "get_last_log": "(self, tags=None, raw=False)",
        },
    ),
    "logs.Entry": ("(text='', tags=())", {}),
    "exceptions.AsyncMethodError": (None, {}),
    "exceptions.NotADecisionError": (None, {}),
    "exceptions.PermissionRecursionError": (None, {}),
    "protocols.UserAccessMethod": (None, {"__call__": "(self, user, /)"}),
    "protocols.AsyncUserAccessMethod": (None, {"__call__": "(self, user, /)"}),
    "protocols.GroupAccessMethod": (None, {"__call__": "(self, groups, /)"}),
    "protocols.AsyncGroupAccessMethod": (None, {"__call__": "(self, groups, /)"}),
    "protocols.SupportsLogging": (
        None,
        {
            "start_log": "(self, name)",
            "log": "(self, *lines, tag=None)",
            "end_log": "(self)",
            "discard_log": "(self)",
            "get_log": "(self, name, tags=None, raw=False)",
            "get_last_log": "(self, tags=None, raw=False)",
        },
    ),
    "protocols.SupportsObjectPermissions": (
        None,
        {
            "has_perm": "(self, perm, obj=None)",
            "ahas_perm": "(self, perm, obj=None)",
            "has_perms": "(self, perm_list, obj=None)",
            "ahas_perms": "(self, perm_list, obj=None)",
            "clear_perm_cache": "(self)",
            "aclear_perm_cache": "(self)",
        },
    ),
}


def public(name: str) -> Any:
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"djem_async.{module}"), attribute)


def shape(function: Any) -> str:
    """Return a signature without its types, which are for the type checkers to judge."""
    found = signature(function)
    bare = [each.replace(annotation=Parameter.empty) for each in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=Signature.empty))


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if isfunction(member) and (not name.startswith("_") or name == "__call__"):
            yield name, member


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_keeps_its_signature(name):
    assert shape(public(name)) == FUNCTIONS[name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_keeps_its_signatures(name):
    cls = public(name)
    made, called = CLASSES[name]
    assert isclass(cls)
    assert made is None or shape(cls) == made
    assert {method: shape(member) for method, member in methods(cls)} == called


def names_of(module: str) -> set[str]:
    """Collect the public names of a module: its ``__all__``, else what it defines."""
    found = import_module(f"djem_async.{module}")
    own = [name for name, member in vars(found).items() if is_own(name, member, found.__name__)]
    return {f"{module}.{name}" for name in getattr(found, "__all__", own)}


def is_own(name: str, member: Any, module: str) -> bool:
    is_defined = isclass(member) or isfunction(member)
    return is_defined and not name.startswith("_") and member.__module__ == module


@pytest.mark.parametrize(
    "module", ["access", "auth", "exceptions", "logs", "middleware", "models", "protocols"]
)
def test_nothing_else_is_public(module):
    known = {name for name in (*FUNCTIONS, *CLASSES) if name.startswith(f"{module}.")}
    assert names_of(module) - {"models.Loggable"} == known


def test_loggable_is_also_in_models():
    assert public("models.Loggable") is public("logs.Loggable")


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_everything_public_is_documented(name):
    found = public(name)
    members = dict(methods(found)) if isclass(found) else {}
    for label, member in {name: found, **members}.items():
        assert member.__doc__, label


def files_of_the_distribution() -> set[Path]:
    files = metadata.files("djem-async") or []
    return {Path(file) for file in files if file.suffix != ".pyc"}


def test_the_version_is_that_of_the_distribution():
    assert metadata.version("djem-async") == djem_async.__version__


def test_the_distribution_holds_the_package_and_nothing_else():
    source = {file for file in (ROOT / "src").rglob("*") if file.is_file()}
    expected = {
        file.relative_to(ROOT / "src") for file in source if file.parent.name != "__pycache__"
    }
    dist_info = f"djem_async-{djem_async.__version__}.dist-info"
    files = files_of_the_distribution()
    assert {file for file in files if file.parts[0] != dist_info} == expected


def test_the_types_are_shipped():
    assert Path("djem_async/py.typed") in files_of_the_distribution()


def test_only_django_and_asgiref_are_required():
    required = [line for line in metadata.requires("djem-async") or [] if "extra ==" not in line]
    names = {re.split(r"[^\w-]", line)[0].lower() for line in required}
    assert names == {"django", "asgiref"}


def test_the_classifiers_name_the_versions_that_are_tested():
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


def test_the_mixin_for_views_is_loaded_when_it_is_asked_for():
    import djem_async.auth

    assert djem_async.auth.PermissionRequiredMixin.__module__ == "djem_async.auth.mixins"
    with pytest.raises(AttributeError, match=r"module 'djem_async.auth' has no attribute 'Other'"):
        djem_async.auth.Other  # noqa: B018
