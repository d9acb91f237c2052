"""Which user a view checks: the one that ``request.user`` stands for, whoever has set it."""

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import alogin, alogout, login, logout
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject
from django.views import View

from djem_async.auth import PermissionRequiredMixin, permission_required

from .conftest import MODEL_BACKEND, grant
from .testapp.models import User
from .testapp.views import KINDS, Site, bare, function_view, view_class

OPEN = "testapp.use_thing"
MODES = ["sync", "async"]


@pytest.fixture(params=KINDS, ids="-".join)
def site(request, settings, db):
    kind, mode = request.param
    return Site(settings, kind, mode, mode)


@pytest.fixture
def visit(site):
    """Call a view with a request: ``visit(request, **options)``."""
    return lambda get, **options: site.visit(get, OPEN, **options)


# How projects let a request be about another user than that of the session.
SETTERS = {
    "instance": lambda name: User.objects.get(username=name),
    "lazy": lambda name: SimpleLazyObject(lambda: User.objects.get(username=name)),
    "lazy twice": lambda name: SimpleLazyObject(lambda: SETTERS["lazy"](name)),
}


def authenticate_by_header(get_response):
    def middleware(request):
        if name := request.headers.get("X-User"):
            request.user = SETTERS[django_settings.SETTER](name)
        return get_response(request)

    return middleware


@pytest.mark.parametrize("setter", SETTERS)
def test_user_that_middleware_sets_is_checked_and_not_that_of_the_session(site, user, setter):
    User.objects.create_user("other")
    site.settings.SETTER = setter
    site.settings.MIDDLEWARE = [*site.settings.MIDDLEWARE, f"{__name__}.authenticate_by_header"]
    site.require(OPEN, route="", raise_exception=True)

    def status(session, name):
        return site.get("/", session, headers={"X-User": name}).status_code

    other = User.objects.get(username="other")
    assert status(user, "other") == 403
    assert status(None, "other") == 403
    assert status(other, "user.name") == 200
    assert status(None, "user.name") == 200
    assert status(user, "") == 200


async def no_user():
    return None


@pytest.mark.parametrize("kind", ["bare", "None", "lazy None", "auser None"])
def test_request_without_a_user_is_denied(visit, kind):
    attributes = {
        "bare": {},
        "None": {"user": None},
        "lazy None": {"user": SimpleLazyObject(lambda: None)},
        "auser None": {"auser": no_user},
    }[kind]
    assert visit(bare(**attributes)).url == "/login/?next=/"
    with pytest.raises(PermissionDenied):
        visit(bare(**attributes), raise_exception=True)


def test_request_with_auser_alone(visit, user):
    async def auser():
        return user

    async def astranger():
        return AnonymousUser()

    assert visit(bare(auser=auser)).content == b"ran"
    assert visit(bare(auser=astranger)).url == "/login/?next=/"
    # A `user` that is there is not skipped, even if it is None or fails.
    assert visit(bare(auser=auser, user=None)).url == "/login/?next=/"


def test_failing_user_does_not_lead_to_the_session(visit, user):
    class Request(type(bare())):
        @property
        def user(self):
            return self.token.user

    async def auser():
        return user

    get = bare(auser=auser)
    get.__class__ = Request
    with pytest.raises(AttributeError, match="token"):
        visit(get)


def sign_in(request):
    login(request, User.objects.get(username="other"), MODEL_BACKEND)


async def asign_in(request):
    await alogin(request, await User.objects.aget(username="other"), MODEL_BACKEND)


@pytest.mark.parametrize("change", [sign_in, asign_in, logout, alogout])
def test_later_checks_and_auser_follow_signing_in_and_out(settings, user, change):
    other = User.objects.create_user("other")
    is_out = change in {logout, alogout}
    found = []

    @permission_required(OPEN, raise_exception=True)
    async def inner(request):
        return HttpResponse("inner")

    @permission_required(OPEN, raise_exception=True)
    async def view(request):
        # The same instance on both ways, with its cached decisions.
        found.append(await request.auser() is await sync_to_async(lambda: request.user._wrapped)())
        run = change if iscoroutinefunction(change) else sync_to_async(change)
        await run(request)
        found.append((await request.auser()).get_username())
        return await inner(request)

    site = Site(settings, client="async")
    site.serve(view)
    assert site.get("/", user).status_code == 403
    assert found == [True, "" if is_out else "other"]
    if not is_out:
        grant(other, OPEN)
        assert site.get("/", user).content == b"inner"


# The text of `PermissionDenied` in an access method


def refuse(self, user):
    raise PermissionDenied(f"{self.name} is closed")


@pytest.mark.parametrize("mode", MODES)
def test_refusal_carries_the_reason_of_an_access_method(user, thing, access_methods, mode):
    access_methods(type(thing), _user_can_use_thing=refuse)
    perm = (OPEN, "pk")

    def reason(view):
        run = view if mode == "sync" else async_to_sync(view)
        with pytest.raises(PermissionDenied) as caught:
            run(bare(user=User.objects.get(pk=user.pk)), pk=thing.pk)
        return str(caught.value)

    decorated = permission_required(perm, raise_exception=True)(function_view(mode, []))
    assert reason(decorated) == "a thing is closed"

    def of_class(**attributes):
        attributes = {"permission_required": [perm], **attributes}
        return reason(view_class(mode, [], **attributes).as_view())

    assert of_class() == "a thing is closed"
    assert of_class(permission_denied_message="Ask Anna") == "Ask Anna"
    assert of_class(get_permission_denied_message=lambda self: "Ask Bob") == "Ask Bob"
    assert of_class(permission_required="testapp.change_thing") == ""
    access_methods(type(thing), _user_can_use_thing=lambda *_: False)
    assert of_class() == ""


class Refused(PermissionRequiredMixin, View):
    permission_required = OPEN

    def has_permission(self, view_kwargs):
        return False


def test_refusal_by_an_override_needs_no_user():
    assert Refused.as_view()(bare()).url == "/login/?next=/"
