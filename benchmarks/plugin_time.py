"""Measures what our mypy plugin costs on a project of real size: Wagtail, with our user model.

    python benchmarks/plugin_time.py [--rounds 3] [--dir DIRECTORY]

It makes a virtual environment of its own in the directory, and checks a copy of Wagtail's source,
without its tests and migrations, with mypy and django-stubs: with our plugin and without it, in
turns, each time with a cold cache. It prints the ratio of the times, and every error that the
plugin adds or takes away: there should be none.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PACKAGES = ["wagtail==8.0.1", "mypy==2.4.1", "django-stubs==6.1.2", str(ROOT)]

SETTINGS = """
SECRET_KEY = "only for measuring"
AUTH_USER_MODEL = "people.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
WAGTAIL_SITE_NAME = "Measured"
WAGTAILADMIN_BASE_URL = "http://localhost"
STATIC_URL = "/static/"
ROOT_URLCONF = "wagtail.urls"
INSTALLED_APPS = [
    "people",
    "djem_async",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.settings",
    "wagtail.contrib.simple_translation",
    "wagtail.contrib.styleguide",
    "wagtail.contrib.table_block",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail.locales",
    "wagtail",
    "modelcluster",
    "taggit",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
"""

MODELS = """
from django.contrib.auth.models import AbstractUser, Group
from django.db.models import QuerySet
from wagtail.models import Page

from djem_async.models import OLPMixin


class User(OLPMixin, AbstractUser):
    pass


class Article(Page):
    def _user_can_change_article(self, user: User) -> bool:
        return self.owner_id == user.pk

    async def _agroup_can_view_article(self, groups: QuerySet[Group]) -> bool:
        return await groups.filter(name="Editors").aexists()

    async def may_change(self, user: User) -> bool:
        return await user.ahas_perm("people.change_article", self)
"""

CONFIG = """
[mypy]
plugins = {plugins}
python_version = 3.12
ignore_missing_imports = True
check_untyped_defs = True
exclude = (^|/)(tests?|migrations|project_template)/

[mypy.plugins.django-stubs]
django_settings_module = measured_settings
"""

PLUGINS = {
    "without": "mypy_django_plugin.main",
    "with": "mypy_django_plugin.main, djem_async.mypy_plugin",
}
ERROR = re.compile(r"^(?P<place>[^:]+:\d+): error: (?P<message>.*)$", re.MULTILINE)


def make(directory: Path) -> Path:
    """Install everything once, and return the interpreter."""
    python = directory / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(directory / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    installed = next((directory / "venv" / "lib").glob("python*/site-packages/wagtail"))
    shutil.rmtree(directory / "wagtail", ignore_errors=True)
    ignored = shutil.ignore_patterns("test", "tests", "locale", "static", "__pycache__")
    shutil.copytree(installed, directory / "wagtail", ignore=ignored)
    (directory / "people").mkdir(exist_ok=True)
    (directory / "people" / "__init__.py").touch()
    (directory / "people" / "models.py").write_text(MODELS)
    (directory / "measured_settings.py").write_text(SETTINGS)
    return python


def check(python: Path, directory: Path, name: str) -> tuple[float, float, list[str]]:
    """Run mypy once with a cold cache; return seconds on the clock, of the CPU, and the errors."""
    config = directory / f"{name}.ini"
    config.write_text(CONFIG.format(plugins=PLUGINS[name]))
    cache = directory / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    command = [python, "-m", "mypy", "--config-file", config, "--cache-dir", cache]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [*command, "wagtail", "people"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed = time.perf_counter() - began
    if result.returncode not in (0, 1) or "INTERNAL ERROR" in result.stdout:
        sys.exit(f"mypy failed:\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:8} {elapsed:6.2f} s on the clock, {used:6.2f} s of the CPU")
    print(f"         {result.stdout.splitlines()[-1]}")
    return elapsed, used, [": ".join(match) for match in ERROR.findall(result.stdout)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "djem-plugin")
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    python = make(arguments.dir)
    clock: dict[str, list[float]] = {"without": [], "with": []}
    cpu: dict[str, list[float]] = {"without": [], "with": []}
    errors: dict[str, list[str]] = {}
    # One round unmeasured, so that both read files that the system has in memory.
    for number in range(arguments.rounds + 1):
        for name in sorted(PLUGINS, reverse=bool(number % 2)):
            elapsed, used, errors[name] = check(python, arguments.dir, name)
            if number:
                clock[name].append(elapsed)
                cpu[name].append(used)
    for title, times in (("clock", clock), ("CPU", cpu)):
        ratio = median(times["with"]) / median(times["without"])
        pairs = zip(times["with"], times["without"], strict=True)
        each = ", ".join(f"{with_it / without:.3f}" for with_it, without in pairs)
        print(f"{title}: {ratio:.3f} times as long with the plugin (each round: {each})")
    added = Counter(errors["with"]) - Counter(errors["without"])
    gone = Counter(errors["without"]) - Counter(errors["with"])
    print(f"errors added by the plugin: {added.total()}, taken away: {gone.total()}")
    for error in sorted([*added, *gone]):
        print(f"  {error}")


if __name__ == "__main__":
    main()
