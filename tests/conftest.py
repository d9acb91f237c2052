"""Fixtures for all tests.

Most tests are plain functions that run once with the sync and once with the async API, through
the fixture ``api``. The async form runs on an event loop of its own, in a thread, while its sync
parts come back to the test's thread, and so to its database transaction. Tests about the event
loop itself are ``async def``.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Permission
from django.db import connections
from django.test.utils import isolate_apps

from djem_async._context import active_logs
from tests import checks
from tests.testapp.models import Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PERM = "testapp.use_thing"
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
OUR_BACKEND = "djem_async.auth.ObjectPermissionsBackend"
ONE_BACKEND = "djem_async.auth.ModelBackend"
PATIENCE = 10  # seconds, for what takes none

# They need other packages, and `make frameworks` and `make browser` run them.
collect_ignore = ["frameworks"]
if os.environ.get("DJANGO_SETTINGS_MODULE") != "tests.browser.settings":
    collect_ignore.append("browser")

DATABASE_FIXTURES = {"db", "transactional_db"}

# What these test is the same on every database, which only stores their users and objects: how
# access methods and backends are asked, views, logs, system checks, and explorations of the rules.
SAME_EVERYWHERE = {
    "differential",
    "fuzz",
    "interleaving",
    *(
        f"test_{name}.py"
        for name in (
            *("access", "answers", "apps", "assertions", "backend_checks", "checks"),
            *("contrib_logging", "decision_matrix", "explain", "flags", "generic_views", "logs"),
            *("middleware", "mixins", "model_backend", "other_backends", "permission_logs"),
            *("query_form_checks", "templatetags", "unawaited", "view_users", "views"),
            "who_is_asked",
        )
    ),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on all databases but SQLite, tests that cannot differ there."""
    if os.environ.get("DJEM_TEST_DB", "sqlite") == "sqlite":
        return
    apart = [
        item
        for item in items
        if not SAME_EVERYWHERE.isdisjoint((item.path.name, item.path.parent.name))
        or (
            not item.get_closest_marker("django_db")
            and DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        )
    ]
    config.hook.pytest_deselected(items=apart)
    items[:] = [item for item in items if item not in set(apart)]


def pytest_collection_finish() -> None:
    """Spare the garbage collector, which many tests call, what stays anyway: modules and tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Give each process databases of its own, also where mutmut has forked it from another."""
    for database in connections.settings.values():
        database["TEST"]["NAME"] += f"_{os.getpid()}"


class Api:
    """Calls a method of an instance in its sync or its async form: ``api(user).has_perm(…)``."""

    def __init__(self, mode: str, instance: Any = None) -> None:
        self.mode = mode
        self.instance = instance

    def __call__(self, instance: Any) -> Api:
        return Api(self.mode, instance)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self.mode == "sync":
            return getattr(self.instance, name)
        return async_to_sync(getattr(self.instance, f"a{name}"))


@pytest.fixture(autouse=True)
def _no_active_log() -> None:
    # One that a test has left active would be so in the tests after it, in the same context.
    active_logs.set(())


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


@pytest.fixture
def access_methods(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set attributes of a class for one test: ``access_methods(Thing, _user_can_…=f)``."""

    def give(cls: type, **methods: Any) -> None:
        for name, method in methods.items():
            monkeypatch.setattr(cls, name, method, raising=False)

    return give


def permission(perm: str) -> Permission:
    app_label, codename = perm.split(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)


def grant(user: User, *perms: str) -> User:
    """Give a user model-level permissions, and return it anew, with nothing cached."""
    user.user_permissions.add(*(permission(perm) for perm in perms))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def user(db: None) -> User:
    """An active user who may use things, as far as the model level goes."""
    return grant(User.objects.create_user("user.name"), "testapp.use_thing")


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create_superuser("super")


@pytest.fixture
def thing(db: None) -> Thing:
    return Thing.objects.create(name="a thing")


def allow(*_: Any) -> bool:
    return True


def deny(*_: Any) -> bool:
    return False


async def aallow(*_: Any) -> bool:
    await asyncio.sleep(0)
    return True


async def adeny(*_: Any) -> bool:
    return False


def decorated(method: Any) -> Any:
    """Wrap a function as decorators do."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


@pytest.fixture
def connections_of_threads() -> Iterator[None]:
    """Close the connections that checks have opened in asgiref's thread."""
    yield
    asyncio.run(sync_to_async(connections.close_all)())


@pytest.fixture
def universal_superuser(settings: Any) -> User:
    """One whom access methods concern, with every model-level permission."""
    settings.DJEM_UNIVERSAL_OLP = True
    return User(pk=1, username="user.name", is_superuser=True)


def set_caches(user: Any) -> None:
    """Fill Django's caches: the user may use things."""
    user._perm_cache, user._user_perm_cache, user._group_perm_cache = {PERM}, {PERM}, set()


def known_user(pk: int = 1) -> User:
    """Make a user who may use things, as if that had been fetched."""
    user = User(pk=pk, username="user.name")
    user._state.adding, user._state.db = False, "default"
    set_caches(user)
    return user


def stored(pk: int = 1, name: str = "thing") -> Thing:
    """Make a thing as if it had been fetched."""
    return Thing.from_db("default", ["id", "name", "owner_id"], [pk, name, None])


def assert_nothing_active(user: Any) -> None:
    for use in (User.end_log, lambda user: user.log("line")):
        with pytest.raises(KeyError, match="No active log"):
            use(user)


class Gate:
    """Holds up the first to come until it is opened."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self._reached, self._opened = threading.Event(), threading.Event()

    def pass_through(self) -> bool:
        if self._first.acquire(blocking=False):
            self._reached.set()
            assert self._opened.wait(PATIENCE)
        return True

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def apps() -> Iterator[Any]:
    with isolate_apps(f"django.contrib.{checks.APP}") as isolated:
        yield isolated


@pytest.fixture
def find_in(apps: Any) -> Callable[..., list[Any]]:
    """Find messages about a model that is defined on the spot."""

    def define(*bases: type, **attributes: Any) -> list[Any]:
        checks.make(*bases, **attributes)
        return checks.find(apps.get_app_configs())

    return define
