"""``PermissionRequiredMixin``; what it shares with the decorator is in test_views.py."""

from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.views import View

from djem_async.auth import PermissionRequiredMixin
from djem_async.exceptions import NotADecisionError

from .conftest import aallow, adeny, allow, deny, grant
from .testapp.models import User
from .testapp.views import USE_THING, Site, view_class

CHANGE = "testapp.change_thing"
DENIED = {"permission_required": CHANGE}
OPEN = {"permission_required": "testapp.use_thing"}


@pytest.fixture(params=["sync", "async"])
def site(request, settings, db):
    return Site(settings, "class", request.param, request.param)


@pytest.fixture
def serve(site):
    """Serve a view class with these attributes: ``serve(permission_required=…)``."""

    def serve(*bases, route="", **attributes):
        base = view_class(site.mode, site.runs, **attributes)
        site.serve(type("V", (*bases, base), {}).as_view(), route)

    return serve


def test_raise_exception_of_the_class_and_of_as_view(site, user):
    for default in (True, False):
        site.settings.DJEM_DEFAULT_403 = default
        assert PermissionRequiredMixin.raise_exception is default
        view = view_class(site.mode, site.runs, **DENIED, raise_exception=not default)
        for served, is_403 in [
            (type("Child", (view,), {}).as_view(), not default),
            (view.as_view(raise_exception=default), default),
        ]:
            site.serve(served)
            assert site.get("/").status_code == (403 if is_403 else 302)
            assert site.get("/", user).status_code == 403
    assert not site.has_run


def teapot(self):
    name = self.request.user.get_username()  # may be loaded here, in every mode
    return HttpResponse(f"{self.get_permission_denied_message()}, {name}", status=418)


async def ateapot(self):
    name = (await self.request.auser()).get_username()
    return HttpResponse(f"{self.get_permission_denied_message()}, {name}", status=418)


@pytest.mark.parametrize("client", ["sync", "async"])
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("answer", [teapot, ateapot, lambda self: ateapot(self)])
def test_handle_no_permission_can_be_overridden(settings, user, client, mode, answer):
    # A sync view cannot answer with a coroutine, so it is async where the answer is.
    site = Site(settings, "class", mode if answer is teapot else "async", client)
    names = {"permission_denied_message": "Ask Anna", "handle_no_permission": answer}
    site.require(CHANGE, route="", **names)

    assert site.get("/", user).content == b"Ask Anna, user.name"
    site.require(CHANGE, route="", redirect_field_name="a", get_login_url=lambda self: "/in/")
    assert site.get("/").url == "/in/?a=/"
    assert not site.has_run


@pytest.mark.parametrize("required", ["testapp.use_thing", ["testapp.use_thing"], [USE_THING]])
def test_requirement_is_a_name_or_a_sequence(site, serve, user, thing, required):
    serve(permission_required=required, route="<int:pk>/")
    assert site.get(f"/{thing.pk}/", user).status_code == 200
    assert site.runs.pop().view_kwargs == {"pk": thing.pk}  # those of the view stay

    view = view_class(site.mode, site.runs, permission_required=required)
    site.serve(view.as_view(permission_required=[(CHANGE, "pk")]), "<int:pk>/")
    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert site.get(f"/{thing.pk}/", grant(user, CHANGE)).status_code == 200


def test_get_permission_required_can_use_the_request(site, serve, user):
    def get_permission_required(self):
        name = "use_thing" if self.request.user.is_authenticated else "no_thing"
        return [f"testapp.{name}"]

    serve(get_permission_required=get_permission_required)

    assert site.get("/", user).status_code == 200
    assert site.get("/").status_code == 302


def test_requirement_that_is_missing_or_no_sequence_is_an_error(site, serve, user):
    user.is_superuser = True
    user.save()
    names = aallow()
    for attributes, message in [
        ({}, r"V requires no permission"),
        ({"get_permission_required": lambda _: "testapp.use_thing"}, "testapp.use_thing"),
        ({"get_permission_required": lambda _: names}, "coroutine|bool"),
    ]:
        serve(**attributes)
        with pytest.raises((ImproperlyConfigured, TypeError), match=message):
            site.get("/", user)
    names.close()
    assert not site.has_run
    with pytest.raises(ImproperlyConfigured, match="Late lists PermissionRequiredMixin after"):
        type("Late", (View, PermissionRequiredMixin), OPEN)


@pytest.mark.parametrize("client", ["sync", "async"])
def test_sync_handler_that_returns_a_coroutine_is_checked(settings, user, client):
    site = Site(settings, "class", client=client)
    site.require(CHANGE, route="", get=lambda self, request: aallow())

    assert site.get("/", user).status_code == 403


@pytest.mark.parametrize("required", [CHANGE, ".", ("testapp.nothing", "pk"), USE_THING[0]])
def test_has_permission_returns_a_bool(api, user, required):
    view = PermissionRequiredMixin()
    view.request = SimpleNamespace(user=user, auser=AsyncMock(return_value=user))
    view.permission_required = [required]
    assert api(view).has_permission({}) is (required == USE_THING[0])


# Overrides of has_permission and ahas_permission


def forgetful(self, view_kwargs):
    return adeny()


@pytest.mark.parametrize("name", ["has_permission", "ahas_permission"])
@pytest.mark.parametrize("answer", [allow, deny, aallow, adeny, forgetful])
def test_override_of_one_form_decides_in_both_modes(site, serve, user, name, answer):
    serve(**{name: answer})

    no_answers = {"ahas_permission": {allow, deny}, "has_permission": {forgetful}}[name]
    if answer in no_answers and (name == "ahas_permission" or site.mode == "sync"):
        with pytest.raises(NotADecisionError):
            site.get("/", user)
        assert not site.has_run
    else:
        may_run = answer in {allow, aallow}
        assert site.get("/", user).status_code == (200 if may_run else 403)
        assert site.has_run is may_run


def test_coroutine_of_an_override_is_never_an_answer(site, serve, user):
    async def ahas_permission(self, view_kwargs):
        return adeny()

    serve(ahas_permission=ahas_permission)
    assert site.get("/", user).status_code == 403
    assert not site.has_run


@pytest.mark.parametrize(
    ("override", "error"),
    [
        (lambda self, _: bool(User(pk=1).ahas_perm("testapp.use_thing")), TypeError),
        (lambda self, _: bool(PermissionRequiredMixin().ahas_permission({})), TypeError),
        (lambda self: True, TypeError),  # Django's signature
        (lambda self, _: 1 / 0, ZeroDivisionError),
    ],
    ids=["unawaited check", "unawaited super", "wrong signature", "exception"],
)
def test_error_in_an_override_propagates(site, serve, user, override, error):
    serve(has_permission=override)

    with pytest.raises(error):
        site.get("/", user)
    assert not site.has_run


@pytest.mark.parametrize("answer", [True, False])
def test_override_can_call_super(site, serve, user, thing, answer):
    class Extended(PermissionRequiredMixin):
        def has_permission(self, view_kwargs):
            return super().has_permission(view_kwargs) and (view_kwargs["pk"] == thing) is answer

    class AsyncExtended(PermissionRequiredMixin):
        async def ahas_permission(self, view_kwargs):
            return await super().ahas_permission(view_kwargs) and answer

    for extended in (Extended, AsyncExtended):
        serve(extended, permission_required=[USE_THING], route="<int:pk>/")
        assert site.get(f"/{thing.pk}/", user).status_code == (200 if answer else 403)
        assert [run.kwargs for run in site.runs] == [{"pk": thing}] * answer
        site.runs.clear()
