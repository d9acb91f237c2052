"""The direction of imports: every module may import what is listed above it, and nothing else."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import djem_async

PACKAGE = Path(djem_async.__file__).parent

# From the bottom up. The modules of one line do not import each other. To name one here that
# is new, put it as low as its imports allow.
LAYERS = (
    # The packages themselves import nothing.
    (
        "",
        "management",
        "management.commands",
        "contrib",
        "templatetags",
        "access",
        "exceptions",
        "signals",
        "conf",
        "protocols",
        "_context",
        "_entries",
        "_lineage",
        "_owned",
        "_pending",
    ),
    ("explain", "_conditions", "_flow", "_hops", "_log_stack", "_store"),
    (
        "_fetch",
        "_lazy",
        "_running",
        "contrib.debug_toolbar",
        "contrib.logging",
        "test._capture",
    ),
    ("_twins", "contrib.logging.apps"),
    ("_check_logs", "_driving", "_methods", "_model_level", "_users", "auth.lookup"),
    ("_backends", "_decision", "_telling", "logs", "auth._users", "checks._annotations"),
    ("_look_up", "_objects", "checks._access_methods", "middleware", "test._permissions"),
    ("_asking", "_lists", "_prefetch", "checks._databases", "checks._permissions"),
    (
        "auth._views",
        "auth.backends",
        "management.commands.explain_perm",
        "management.commands.list_access",
        "models",
        "shortcuts",
        "templatetags.djem_async",
        "test._assertions",
    ),
    ("auth.decorators", "auth.mixins", "checks", "contrib.strawberry", "test._lists"),
    ("apps", "auth", "test"),
)
# Optional, and not imported by the rest.
ADMIN_LAYERS = (
    ("contrib.admin._rows",),
    ("contrib.admin._checks", "contrib.admin._choices"),
    ("contrib.admin._options",),
    ("contrib.admin",),
)
# The plugin runs in mypy, and is not imported by the rest.
PLUGIN_LAYERS = (
    ("mypy_plugin._perms", "mypy_plugin._project", "mypy_plugin._report", "mypy_plugin._truth"),
    ("mypy_plugin._access",),
    ("mypy_plugin",),
)
# Optional parts import the packages that they are for.
EXTRAS = {
    "contrib.debug_toolbar": {"debug_toolbar"},
    "contrib.rest_framework.filters": {"rest_framework"},
    "contrib.rest_framework.permissions": {"rest_framework"},
    "contrib.rest_framework.serializers": {"rest_framework"},
    "contrib.strawberry": {"graphql", "strawberry", "strawberry_django"},
}
REST_FRAMEWORK_LAYERS = (
    ("contrib.rest_framework.filters", "contrib.rest_framework.serializers"),
    ("contrib.rest_framework.permissions",),
    ("contrib.rest_framework",),
)
ALL_LAYERS = LAYERS + ADMIN_LAYERS + PLUGIN_LAYERS + REST_FRAMEWORK_LAYERS
LAYER = {module: number for number, layer in enumerate(ALL_LAYERS) for module in layer}


class Import(NamedTuple):
    module: str
    line: int
    target: str  # absolute, with the imported name: "django.db.models.Model"

    def __str__(self) -> str:
        return f"{self.module or '__init__'}, line {self.line}, imports {self.target}"


def path_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(module: str) -> Iterator[Import]:
    """Find all imports of a module, also those in functions and for type checkers only."""
    path = path_of(module)
    package = ["djem_async", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield Import(module, node.lineno, f"{origin}.{alias.name}")


def our_module(target: str) -> str | None:
    """Name the module of ours that an import is from, None if it is not one of ours."""
    name = target.removeprefix("djem_async").removeprefix(".")
    if name == target:
        return None
    return name if name in LAYER else name.rpartition(".")[0]


IMPORTS = [found for module in modules() for found in imports_of(module)]
OURS = [found for found in IMPORTS if our_module(found.target) is not None]
FOREIGN = [found for found in IMPORTS if our_module(found.target) is None]


def listed(imports: list[Import]) -> str:
    return "\n".join(str(found) for found in imports)


def test_every_module_has_its_layer():
    assert set(modules()) ^ set(LAYER) == set()


def test_imports_run_one_way():
    wrong = [
        found
        for found in OURS
        if LAYER.get(our_module(found.target), 0) >= LAYER.get(found.module, len(LAYERS))
    ]
    assert not wrong, listed(wrong)


def test_the_packages_import_nothing():
    # Django imports them before its apps are ready.
    wrong = [found for found in IMPORTS if found.module in {"", "contrib", "templatetags"}]
    assert not wrong, listed(wrong)


def test_auth_and_models_do_not_know_each_other():
    wrong = [
        found
        for found in OURS
        if {found.module.split(".")[0], our_module(found.target).split(".")[0]}
        == {"auth", "models"}
    ]
    assert not wrong, listed(wrong)


def test_nothing_but_django_and_asgiref_is_needed():
    new = {"annotationlib"}  # in the standard library from Python 3.14
    allowed = {"django", "asgiref", *sys.stdlib_module_names, *new}
    wrong = [
        found
        for found in FOREIGN
        if found.target.split(".")[0] not in allowed | EXTRAS.get(found.module, set())
        and not found.module.startswith("mypy_plugin")
        and found.target != "django_stubs_ext.StrOrPromise"  # for type checkers only
    ]
    assert not wrong, listed(wrong)


def test_the_decision_knows_django_by_one_exception():
    django = [
        found.target
        for found in FOREIGN
        if found.module == "_decision" and found.target.split(".")[0] not in sys.stdlib_module_names
    ]
    assert django == ["django.core.exceptions.PermissionDenied"]


def test_threads_and_event_loops_are_left_to_the_driver_and_to_views():
    tools = ("asyncio", "concurrent", "asgiref.sync.sync_to_async", "asgiref.sync.async_to_sync")
    users = {found.module for found in FOREIGN if found.target.startswith(tools)}
    assert users <= {"_driving", "_hops"}


def test_files_and_floors_stay_few_and_short():
    assert len(LAYERS) <= 11
    lines = {module: len(path_of(module).read_text().splitlines()) for module in modules()}
    assert {module: count for module, count in lines.items() if count > 400} == {}


def test_private_names_of_others_are_not_used():
    # Of Django's, there are the three caches of permissions on the user.
    private = re.compile(
        r"\b(_restore_context|_Storage|_rehome|deadlock_context|thread_sensitive_context|executors"
        r"|task_context|_prefetched_objects_cache|_wrapped|_get_\w*permissions|co_\w+)\b"
    )
    library = [module for module in modules() if not module.startswith("mypy_plugin")]
    found = {module: private.findall(path_of(module).read_text()) for module in library}
    assert {module: names for module, names in found.items() if names} == {}
