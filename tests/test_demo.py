"""The demo, run as its users run it: in a process of its own."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import djem_async

DEMO = Path(__file__).parents[1] / "demo"

LOG = """\
Model-level Result: Granted

Cannot delete active product lines

RESULT: Permission Denied
"""
HEADER = """\
Permission: inventory.delete_product
User: user.name (54)
Object: PROD123 (1375)

"""


def run(demo, *arguments, **environment):
    # The process has to import the same djem_async as this one.
    path = os.pathsep.join([str(Path(djem_async.__file__).parents[1]), *sys.path])
    given = {"PYTHONPATH": path, "NO_COLOR": "1", "PYTHONUTF8": "1", **environment}
    inherited = {name: os.environ[name] for name in os.environ if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, str(demo / "run.py"), *arguments],
        env={**inherited, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_demo_shows_what_it_promises():
    done = run(DEMO, "--once")
    assert done.returncode == 0, done.stdout
    assert "\033" not in done.stdout
    assert "✗" not in done.stdout
    walk, pages = done.stdout.split("The pages, visited by an HTTP client")

    for shown in (
        "System check identified no issues",
        f">>> print(user.get_last_log())\n{LOG}",
        f">>> print(user.get_last_log())\n{HEADER}{LOG}",
        "\nActive superuser: Implicit permission\n\nRESULT: Permission Granted\n",
        "\nActive superuser: Implicit permission (model-level)\nModel-level Result",
        "ahas_perm() was not awaited",
        "✓ Walk: ",
    ):
        assert shown in walk
    assert pages.count(textwrap.indent(HEADER + LOG, "       ")) == 2
    assert "✓ Pages: " in pages


def change(file, right, wrong):
    source = file.read_text(encoding="utf-8")
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong), encoding="utf-8")


def test_demo_fails_if_access_or_the_number_of_queries_is_wrong(tmp_path):
    demo = tmp_path / "demo"
    shutil.copytree(DEMO, demo, ignore=shutil.ignore_patterns("__pycache__", "db.sqlite3*"))
    stock = 'user.log("Cannot delete products with stock on hand")\n            return '
    change(demo / "inventory/models.py", f"{stock}False", f"{stock}True")
    required = '@permission_required(("inventory.{}_product", "product"), raise_exception=True)\n'
    view = "async def delete("
    change(
        demo / "inventory/views.py",
        required.format("delete") + view,
        required.format("view") + view,
    )
    change(
        demo / "inventory/views.py",
        '    await user.aprefetch_perms(["inventory.manage_supplier"], suppliers)\n',
        "",
    )

    done = run(demo, "--once")

    assert done.returncode == 1, done.stdout
    assert "✗ Walk: " in done.stdout  # the access method
    assert "✗ POST /products/1375/delete/               302" in done.stdout  # the view
    assert "✗ GET  /products/?page=50                   200" in done.stdout  # the queries
    assert "✗ Pages: " in done.stdout


def test_demo_refuses_an_invalid_port():
    done = run(DEMO, PORT="http")
    assert done.returncode == 1
    assert done.stdout == "PORT is 'http'. It must be a number from 1 to 65535.\n"
