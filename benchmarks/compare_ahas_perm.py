"""What `has_perm()` and `await ahas_perm()` return for an object, library by library.

    python benchmarks/compare_ahas_perm.py

Each library runs in a process of its own, in the same situation: a user has `shop.open_product` at
the model level. At the object level, in the library's own way, the permission must be granted for
an open product and denied for a closed one.

The libraries are installed, at the versions below, into a temporary virtual environment, unless
they are installed already. This checkout of djem_async needs no installation.
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

DJANGO = "5.2"  # the series
PINNED = {
    "djem": "0.9.0a8",
    "django-guardian": "3.5.2",
    "rules": "3.5",
    "bridgekeeper": "0.9",
}
HEADER = """\
| | to be denied: `has_perm` | `await ahas_perm` | to be granted: `has_perm` | `await ahas_perm` |
|---|---|---|---|---|"""


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
    """Create a virtual environment with all libraries, and return its Python."""
    venv.create(directory, with_pip=True)
    python = str(directory / ("Scripts" if os.name == "nt" else "bin") / "python")
    pins = [f"{library}=={pinned}" for library, pinned in PINNED.items()]
    command = [python, "-m", "pip", "install", "--quiet", f"Django=={DJANGO}.*", *pins]
    subprocess.run(command, check=True)
    return python


def table(python: str) -> str:
    return "\n".join([HEADER, *(row(python, library) for library in [*PINNED, "djem_async"])])


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
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root), str(root / "src")]
    from benchmarks.shop import project

    project.set_up(library.removeprefix("django-"), "sqlite", ":memory:")

    from asgiref.sync import async_to_sync
    from django.contrib.auth.models import Permission
    from django.core.management import call_command

    from benchmarks.shop.models import Product, User

    call_command("migrate", run_syncdb=True, verbosity=0)
    pk = User.objects.create_user("anna").pk
    User.objects.get(pk=pk).user_permissions.add(Permission.objects.get(codename="open_product"))
    products = [Product.objects.create(is_open=is_open) for is_open in (False, True)]
    if library == "django-guardian":
        from guardian.shortcuts import assign_perm

        assign_perm("shop.open_product", User.objects.get(pk=pk), products[1])
    found: list[tuple[bool, bool]] = []
    for product in products:
        # A new instance for each check, so that none is answered from a cache.
        user, auser = (User.objects.get(pk=pk) for _ in range(2))
        found.append((product.is_open, bool(user.has_perm("shop.open_product", product))))
        # Sync parts come back to this thread, and to its database in memory.
        answer = async_to_sync(auser.ahas_perm)("shop.open_product", product)
        found.append((product.is_open, bool(answer)))
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(answers(sys.argv[1])))
    else:
        main()
