"""The demo, run as its users run it: in a process of its own. `make browser` clicks through it."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import djem_async

DEMO = Path(__file__).parents[1] / "demo"

LOG = """\
Permission: inventory.delete_product
User: user.name (54)
Object: PROD123 (1375)

Model-level Result: Granted

Cannot delete active product lines

RESULT: Permission Denied
"""


def python(script, *arguments, stderr=subprocess.STDOUT, **environment):
    # The process has to import the same djem_async as this one.
    path = os.pathsep.join([str(Path(djem_async.__file__).parents[1]), *sys.path])
    given = {"PYTHONPATH": path, "NO_COLOR": "1", "PYTHONUTF8": "1", **environment}
    inherited = {name: os.environ[name] for name in os.environ if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**inherited, **given},
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_demo_shows_what_it_promises():
    done = python(DEMO / "run.py", "--once")
    assert done.returncode == 0, done.stdout
    assert "\033" not in done.stdout
    assert "✗" not in done.stdout
    walk, pages = done.stdout.split("The pages, visited by an HTTP client")
    assert "System check identified no issues" in walk
    assert "| Cannot delete active product lines\n" in walk
    assert "ahas_perm() was not awaited" in walk
    assert walk.count("\n") <= 36
    assert pages.count(textwrap.indent(LOG, "       ")) == 2
    assert re.search(r"✓ WebSocket: closed, because user\.name does not manage", pages)
    assert "✓ Pages: " in pages


def change(file, right, wrong):
    source = file.read_text(encoding="utf-8")
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong), encoding="utf-8")


def test_demo_fails_if_access_or_the_number_of_queries_is_wrong(tmp_path):
    demo = tmp_path / "demo"
    shutil.copytree(DEMO, demo, ignore=shutil.ignore_patterns("__pycache__", "db.sqlite3*"))
    change(demo / "inventory/models.py", "Q(active=False, stock=0, ", "Q(active=False, ")
    required = '@permission_required(("inventory.{}_product", "product"), raise_exception=True)\n'
    view = "async def discontinue("
    change(
        demo / "inventory/views.py",
        required.format("discontinue") + view,
        required.format("view") + view,
    )
    change(
        demo / "inventory/views.py",
        '    await user.aprefetch_perms(["inventory.manage_supplier"], suppliers)\n',
        "",
    )

    done = python(demo / "run.py", "--once")

    assert done.returncode == 1, done.stdout
    assert "✗ Walk: " in done.stdout  # the query form
    assert re.search(r"✗ POST /products/\d+/discontinue/ +302", done.stdout)  # the view
    assert re.search(r"✗ GET  /products/\?page=50 +200", done.stdout)  # the queries
    assert "✗ Pages: " in done.stdout


def test_demo_refuses_an_invalid_port():
    done = python(DEMO / "run.py", PORT="http")
    assert done.returncode == 1
    assert done.stdout == "PORT is 'http'. It must be a number from 0 to 65535.\n"


def manage(*arguments, database):
    given = {"stderr": subprocess.PIPE, "DEMO_DATABASE": str(database)}
    return python(DEMO / "manage.py", *arguments, **given)


def test_commands_in_the_demo(tmp_path):
    database = tmp_path / "db.sqlite3"
    load = "from inventory import data; data.load()"
    for arguments in (["migrate"], ["shell", "-c", load]):
        assert manage(*arguments, database=database).returncode == 0
    perm = "inventory.delete_product"
    done = manage("explain_perm", "user.name", perm, "prod123", database=database)
    assert done.returncode == 2
    assert done.stderr == (
        "CommandError: There is no inventory.Product with the primary key 'prod123'."
        " Did you mean 1375 (PROD123)?\n"
    )
    done = manage("explain_perm", "user.name", perm, "1375", database=database)
    assert done.returncode == 1
    assert done.stdout == (
        "Denied to user.name (54) on PROD123 (1375)\n"
        "inventory.delete_product on inventory.Product 1375, user 54: denied\n"
        "    user_method: inventory.models.Product._user_can_delete_product\n"
        "    | Cannot delete active product lines\n"
    )
    assert manage("explain_perm", "user.name", perm, database=database).returncode == 0
    done = manage("list_access", "--fail-on-open", database=database)
    assert done.returncode == 0
    assert "  inventory.delete_product       user   async, query\n" in done.stdout
