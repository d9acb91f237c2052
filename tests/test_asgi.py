"""The whole way of a request: a real server, and an ASGI application whose clients go away."""

import asyncio
import socket
import threading
from contextlib import closing

import httpx
import pytest
import uvicorn
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished
from django.test import Client

from .testapp.models import Thing, User

ROUTES = ["sync", "async", "class", "async-class"]
HOST = {"host": "testserver"}
SHARED = "djem_async.middleware.SharedUserMiddleware"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server():
    """A server on a free port, and a client that talks to it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        config = uvicorn.Config(
            ASGIHandler(), loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None
        )
        serving = uvicorn.Server(config)
        thread = threading.Thread(target=serving.run, args=([listening],))
        thread.start()
        port = listening.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=HOST) as client:
                yield client
        finally:
            serving.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def signed_in(user: User) -> dict[str, str]:
    """Sign a user in, and return the header of requests that says so."""
    client = Client()
    client.force_login(user)
    return {"cookie": f"sessionid={client.cookies['sessionid'].value}"}


def owner_only(self, user):
    return self.owner_id == user.pk


async def aowner_only(self, user):
    await asyncio.sleep(0)
    return self.owner_id == user.pk


@pytest.fixture
def session(user):
    return signed_in(user)


@pytest.fixture
def owned(user):
    return Thing.objects.create(name="mine", owner=user)


METHODS = [("_user_can_use_thing", owner_only), ("_auser_can_use_thing", aowner_only)]


@pytest.mark.parametrize("middleware", [[], [SHARED]], ids=["stock", "shared-user"])
@pytest.mark.parametrize("method", METHODS, ids=["sync-method", "async-method"])
def test_server_grants_and_denies(
    server, settings, session, owned, thing, access_methods, method, middleware
):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *middleware]
    access_methods(Thing, **dict([method]))
    for route in ROUTES:
        response = server.get(f"/{route}/{owned.pk}/", headers=session)
        assert (response.status_code, response.text) == (200, "mine for user.name")
        url = f"/{route}/{thing.pk}/"
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            anonymous = server.request(method, url)
            assert anonymous.status_code == 302
            assert anonymous.headers["location"] == f"/login/?next={url}"
            denied = server.request(method, url, headers=session)
            assert denied.status_code == (403 if "class" in route else 302)


def communicator(url: str, session: dict[str, str]) -> ApplicationCommunicator:
    cookie = session["cookie"].encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": url,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie)],
    }
    return ApplicationCommunicator(ASGIHandler(), scope)


@pytest.fixture
def finished():
    """The number of requests that have been finished, with all that Django does then."""
    count = []
    note = lambda **_kwargs: count.append(1)  # noqa: E731
    request_finished.connect(note)
    yield count
    request_finished.disconnect(note)


async def answer(application: ApplicationCommunicator) -> int:
    """Make the request of a client that stays, and return the status code."""
    await application.send_input({"type": "http.request"})
    started, _ = [await application.receive_output(20) for _ in range(2)]
    await application.wait(20)
    return started["status"]


async def leave(
    application: ApplicationCommunicator, entered: threading.Event, release: threading.Event
) -> bool:
    """Make the request of a client that goes away during the check; return whether it is silent."""
    await application.send_input({"type": "http.request"})
    assert await asyncio.to_thread(entered.wait, 20)
    await application.send_input({"type": "http.disconnect"})
    for _ in range(100):
        await asyncio.sleep(0)  # Django hears of it
    release.set()
    await application.wait(20)
    return await application.receive_nothing()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync-method", "async-method"])
@pytest.mark.parametrize("route", ROUTES)
async def test_client_goes_away_during_a_check(
    settings, user, session, owned, access_methods, finished, route, is_async
):
    settings.DJEM_PERM_LOG_VERBOSITY = 2 if "class" in route else 0
    entered, release, cancelled = threading.Event(), threading.Event(), []

    def wait(self, user):
        entered.set()
        release.wait(20)
        return False

    async def await_release(self, user):
        try:
            return await asyncio.to_thread(wait, self, user)
        except asyncio.CancelledError:
            cancelled.append(user)
            raise

    name, method = METHODS[is_async]
    access_methods(Thing, **{name: await_release if is_async else wait})
    url = f"/{route}/{owned.pk}/"
    assert await leave(communicator(url, session), entered, release)
    if is_async and "async" in route:
        assert cancelled == [user]
    assert len(finished) == 1
    access_methods(Thing, **{name: method})
    assert await answer(communicator(url, session)) == 200
