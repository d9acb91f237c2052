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
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",
        **environment,
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, str(demo / "run.py"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_the_demo_shows_what_it_promises():
    done = run(DEMO, "--once")
    assert done.returncode == 0, done.stdout
    assert "\033" not in done.stdout
    assert "✗" not in done.stdout
    walk, pages = done.stdout.split("The pages, visited by an HTTP client")

    assert "System check identified no issues" in walk
    assert f">>> print(user.get_last_log())\n{LOG}" in walk
    assert f">>> print(user.get_last_log())\n{HEADER}{LOG}" in walk
    assert "\nActive superuser: Implicit permission\n\nRESULT: Permission Granted\n" in walk
    assert "\nActive superuser: Implicit permission (model-level)\nModel-level Result" in walk
    assert ">>> len(results), most_under_way\n(200, 200)\n" in walk
    assert "TypeError: OLPMixin.ahas_perm() was not awaited." in walk
    assert "✓ Walk: " in walk

    seen = {" ".join(line.split()) for line in pages.splitlines()}
    assert seen >= {
        "✓ GET /products/ 302 -> /sign-in/?next=/products/",
        "✓ POST /sign-in/ 403 CSRF",
        "✓ POST /sign-in/ 302 -> /products/",
        "✓ POST /products/1375/delete/ 403",
        "✓ POST /products/1375/delete/by-class/ 403",
        "✓ POST /products/1272/delete/ 302 -> /products/",
        "✓ GET /products/1272/ 404",
        "✓ GET /nowhere/ 404 There is no page at /nowhere/.",
    }
    assert pages.count(textwrap.indent(HEADER + LOG, "       ")) == 2
    assert "✓ JSON: delete_product granted: False, log: Permission: inventory.delete_p" in pages
    assert "✓ Pages: " in pages


def change(file, right, wrong):
    source = file.read_text(encoding="utf-8")
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong), encoding="utf-8")


def test_the_demo_fails_if_something_is_granted_that_should_be_denied(tmp_path):
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

    done = run(demo, "--once")

    assert done.returncode == 1, done.stdout
    # The access method, found by asking the database as well ...
    assert "== pks\nFalse\n✗ Not as expected. walk.md, line " in done.stdout
    assert "✗ Walk: " in done.stdout
    # ... and the view, found by sending the form.
    assert "✗ POST /products/1375/delete/               302" in done.stdout
    assert "✗ Pages: " in done.stdout


def test_the_demo_refuses_a_port_that_is_no_port():
    done = run(DEMO, PORT="http")
    assert done.returncode == 1
    assert done.stdout == "PORT is 'http'. It must be a number from 1 to 65535.\n"
