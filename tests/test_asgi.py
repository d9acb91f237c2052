"""The whole way of a request: a real server, and an ASGI application whose clients go away."""

from __future__ import annotations

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

from .conftest import grant
from .testapp.models import Thing, User

ROUTES = ["sync", "async", "class", "async-class"]
ASYNC_ROUTES = ["async", "async-class"]
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
            headers = {"host": "testserver"}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
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


@pytest.fixture
def session(user):
    return signed_in(user)


def owner_only(self, user):
    return self.owner_id == user.pk


async def aowner_only(self, user):
    await asyncio.sleep(0)
    return self.owner_id == user.pk


@pytest.fixture
def owned(user):
    return Thing.objects.create(name="mine", owner=user)


METHODS = [{"_user_can_use_thing": owner_only}, {"_auser_can_use_thing": aowner_only}]


# A real server


@pytest.mark.parametrize("methods", METHODS, ids=["sync-method", "async-method"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_server_serves_those_who_may(server, session, owned, access_methods, route, methods):
    access_methods(Thing, **methods)

    response = server.get(f"/{route}/{owned.pk}/", headers=session)

    assert (response.status_code, response.text) == (200, "mine for user.name")


@pytest.mark.parametrize("methods", METHODS, ids=["sync-method", "async-method"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_server_denies_those_who_may_not(server, session, thing, access_methods, route, methods):
    access_methods(Thing, **methods)
    url = f"/{route}/{thing.pk}/"
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        anonymous = server.request(method, url)
        assert anonymous.status_code == 302
        assert anonymous.headers["location"] == f"/login/?next={url}"

        denied = server.request(method, url, headers=session)
        assert denied.status_code == (403 if "class" in route else 302)


@pytest.mark.parametrize("route", ROUTES)
def test_a_server_finds_no_object_for_a_hostile_key(server, session, route):
    for key in ("0", "x", "%00", "1%00", "%FF", "9" * 100, "%D0%BA", "%F0%9F%98%80"):
        assert server.get(f"/{route}/{key}/", headers=session).status_code == 404


def test_a_server_answers_many_users_at_once(server, user, owned, access_methods):
    """Each by what they may: the views share a process, and objects, and nothing else."""
    access_methods(Thing, _auser_can_use_thing=aowner_only)
    stranger = grant(User.objects.create_user("stranger"), "testapp.use_thing")
    wanted = {"user.name": 200, "stranger": 403}
    sessions = {person.username: signed_in(person) for person in (user, stranger)}

    async def ask():
        headers = {"host": "testserver"}
        async with httpx.AsyncClient(base_url=server.base_url, headers=headers) as client:
            names = [*wanted] * 10
            requests = (
                client.get(f"/async-class/{owned.pk}/", headers=sessions[name]) for name in names
            )
            return [*zip(names, await asyncio.gather(*requests), strict=True)]

    for name, response in asyncio.run(ask()):
        assert response.status_code == wanted[name]


def test_a_page_of_an_async_view_goes_by_what_the_decorator_found(
    server, session, owned, access_methods
):
    access_methods(Thing, _auser_can_use_thing=aowner_only)

    response = server.get(f"/page/{owned.pk}/", headers=session)

    assert (response.status_code, response.text.strip()) == (200, "<b>mine</b>")


def test_a_page_that_asks_on_the_event_loop_fails_loudly(server, session, owned):
    assert server.get(f"/cold-page/{owned.pk}/", headers=session).status_code == 500


@pytest.mark.parametrize("route", ROUTES)
def test_a_server_with_one_user_for_all(server, settings, session, owned, access_methods, route):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, SHARED]
    access_methods(Thing, _user_can_use_thing=owner_only)

    response = server.get(f"/{route}/{owned.pk}/", headers=session)

    assert (response.status_code, response.text) == (200, "mine for user.name")


@pytest.mark.parametrize("route", ROUTES)
def test_a_connection_that_breaks_off_harms_no_other(server, session, owned, access_methods, route):
    entered, release = threading.Event(), threading.Event()

    def wait(self, user):
        entered.set()
        release.wait(20)
        return True

    access_methods(Thing, _user_can_use_thing=wait)
    with socket.create_connection((server.base_url.host, server.base_url.port)) as connection:
        lines = [f"GET /{route}/{owned.pk}/ HTTP/1.1", "Host: testserver"]
        lines += [f"Cookie: {session['cookie']}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert entered.wait(20)
    release.set()

    response = server.get(f"/{route}/{owned.pk}/", headers=session)

    assert (response.status_code, response.text) == (200, "mine for user.name")


# Clients that go away


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

    def note(**_kwargs):
        count.append(1)

    request_finished.connect(note)
    yield count
    request_finished.disconnect(note)


async def answer(application: ApplicationCommunicator) -> int:
    """Make the request of a client that stays, and return the status code."""
    await application.send_input({"type": "http.request"})
    start = await application.receive_output(20)
    body = await application.receive_output(20)
    assert body["type"] == "http.response.body"
    await application.wait(20)
    return start["status"]


async def leave(application: ApplicationCommunicator, entered: threading.Event) -> bool:
    """Make the request of a client that goes away during the check; return whether it is silent."""
    await application.send_input({"type": "http.request"})
    assert await asyncio.to_thread(entered.wait, 20)
    await application.send_input({"type": "http.disconnect"})
    await application.wait(20)
    return await application.receive_nothing()


@pytest.mark.parametrize("verbosity", [0, 2])
@pytest.mark.parametrize("route", ASYNC_ROUTES)
async def test_a_check_ends_when_its_client_goes_away(
    settings, user, session, owned, access_methods, finished, route, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    entered, cancelled = threading.Event(), []

    async def wait(self, user):
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(user)
            raise

    access_methods(Thing, _auser_can_use_thing=wait)
    url = f"/{route}/{owned.pk}/"

    assert await leave(communicator(url, session), entered)

    assert cancelled == [user]
    assert len(finished) == 1
    access_methods(Thing, _auser_can_use_thing=aowner_only)
    assert await answer(communicator(url, session)) == 200


@pytest.mark.parametrize("methods", ["sync", "async"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_check_that_cannot_be_stopped_does_no_harm(
    session, owned, access_methods, finished, route, methods
):
    """A thread goes on when its client has gone, until it is done."""
    entered, release = threading.Event(), threading.Event()

    def wait(self, user):
        entered.set()
        release.wait(20)
        return False

    async def await_release(self, user):
        entered.set()
        await asyncio.to_thread(release.wait, 20)
        return False

    if methods == "sync":
        access_methods(Thing, _user_can_use_thing=wait)
    else:
        access_methods(Thing, _auser_can_use_thing=await_release)
    url = f"/{route}/{owned.pk}/"
    going = asyncio.create_task(leave(communicator(url, session), entered))
    await asyncio.to_thread(entered.wait, 20)
    await asyncio.sleep(0.05)
    release.set()

    assert await going
    assert len(finished) == 1
    access_methods(Thing, _user_can_use_thing=owner_only, _auser_can_use_thing=aowner_only)
    assert await answer(communicator(url, session)) == 200
