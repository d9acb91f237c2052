"""What ``has_perm()`` and ``await ahas_perm()`` answer for an object, library by library.

    python benchmarks/compare_ahas_perm.py

Every library gets a process of its own and the same situation: a user has
``inventory.delete_product`` at the model level, and at the object level, in the way the
library wants it said, an active product must not be deleted and an inactive one may be.

The libraries are installed, at the versions below, into a temporary virtual environment, unless
the environment that runs this has them already. This checkout of djem_async needs no installing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DJANGO = "5.2"  # the series
PINNED = {
    "djem": "0.9.0a8",
    "django-guardian": "3.5.2",
    "rules": "3.5",
    "bridgekeeper": "0.9",
}
# The app and the authentication backend of each.
LIBRARIES = {
    "djem": ("djem", "djem.auth.ObjectPermissionsBackend"),
    "django-guardian": ("guardian", "guardian.backends.ObjectPermissionBackend"),
    "rules": ("rules", "rules.permissions.ObjectPermissionBackend"),
    "bridgekeeper": ("bridgekeeper", "bridgekeeper.backends.RulePermissionBackend"),
    "djem_async": ("djem_async", "djem_async.auth.ObjectPermissionsBackend"),
}
HEADER = """\
| | to be denied: `has_perm` | `await ahas_perm` | to be granted: `has_perm` | `await ahas_perm` |
|---|---|---|---|---|"""
PERM = "inventory.delete_product"


def main() -> None:
    if is_complete():
        print(table(sys.executable))
        return
    with tempfile.TemporaryDirectory() as directory:
        print("Installing the libraries…", file=sys.stderr)
        print(table(environment(Path(directory))))


def is_complete() -> bool:
    try:
        return version("django").startswith(f"{DJANGO}.") and all(
            version(library) == pinned for library, pinned in PINNED.items()
        )
    except PackageNotFoundError:
        return False


def environment(directory: Path) -> str:
    """Make a virtual environment with all libraries, and return its Python."""
    venv.create(directory, with_pip=True)
    python = str(directory / ("Scripts" if os.name == "nt" else "bin") / "python")
    pins = [f"{library}=={pinned}" for library, pinned in PINNED.items()]
    command = [python, "-m", "pip", "install", "--quiet", f"Django=={DJANGO}.*", *pins]
    subprocess.run(command, check=True)
    return python


def table(python: str) -> str:
    return "\n".join([HEADER, *(row(python, library) for library in LIBRARIES)])


def row(python: str, library: str) -> str:
    command = [python, __file__, library]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    cells = [cell(answer, must_be=must_be) for must_be, answer in json.loads(result.stdout)]
    title = f"{library} {PINNED[library]}" if library in PINNED else library
    return f"| {title} | {' | '.join(cells)} |"


def cell(answer: bool, *, must_be: bool) -> str:
    text = "granted" if answer else "denied"
    return text if answer is must_be else f"**{text}**"


def answers(library: str) -> list[tuple[bool, bool]]:
    """Ask one library, and return what each answer must be and what it is."""
    product_model = project(library)

    from asgiref.sync import async_to_sync
    from django.contrib.auth.models import User

    person = User.objects.create_user("anna")
    person.user_permissions.add(permission(product_model))
    products = {
        False: product_model.objects.create(active=True),
        True: product_model.objects.create(active=False),
    }
    allow_inactive(library, person, products[True])

    found: list[tuple[bool, bool]] = []
    for must_be, product in products.items():
        # A new instance for each check, so that none is answered from a cache.
        user, auser = (User.objects.get(pk=person.pk) for _ in range(2))
        found.append((must_be, bool(user.has_perm(PERM, product))))
        # Sync parts come back to this thread, and to its database in memory.
        found.append((must_be, bool(async_to_sync(auser.ahas_perm)(PERM, product))))
    return found


def project(library: str) -> Any:
    """Set up a project that uses the library, and return its only model."""
    import django
    from django.apps import AppConfig
    from django.conf import settings

    class Inventory(AppConfig):
        name = "__main__"
        label = "inventory"
        path = str(ROOT)

    globals()["Inventory"] = Inventory
    app, backend = LIBRARIES[library]
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            app,
            "__main__.Inventory",
        ],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", backend],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ANONYMOUS_USER_NAME=None,  # of django-guardian
        USE_TZ=True,
    )
    django.setup()

    from django.core.management import call_command
    from django.db import connection, models

    class Product(models.Model):
        active = models.BooleanField()

        class Meta:
            app_label = "inventory"

        def __str__(self) -> str:
            return "active" if self.active else "inactive"

        # What djem and djem_async ask. The others take no notice of it.
        def _user_can_delete_product(self, user: Any) -> bool:
            return not self.active

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    return Product


def permission(model: Any) -> Any:
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    content_type = ContentType.objects.get_for_model(model)
    return Permission.objects.create(content_type=content_type, codename="delete_product")


def allow_inactive(library: str, user: Any, inactive_product: Any) -> None:
    """Say in the library's own way that inactive products may be deleted."""
    if library == "django-guardian":
        from guardian.shortcuts import assign_perm

        assign_perm(PERM, user, inactive_product)
    elif library == "rules":
        import rules

        rules.add_perm(PERM, rules.predicate(lambda _user, product: not product.active))
    elif library == "bridgekeeper":
        from bridgekeeper import perms
        from bridgekeeper.rules import Attribute

        perms[PERM] = Attribute("active", False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        # One library, in the process that the table has started for it.
        sys.path.insert(0, str(ROOT / "src"))
        print(json.dumps(answers(sys.argv[1])))
    else:
        main()
