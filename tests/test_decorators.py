"""``permission_required`` as a decorator; what it shares with the mixin is in test_views.py."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path, re_path
from django.utils.decorators import method_decorator
from django.views import View

from djem_async.auth import permission_required

from .conftest import grant
from .testapp.models import Thing
from .testapp.views import USE_THING, Site, function_view

LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site with decorated views; the parameters are the modes of the view and the client."""
    return Site(settings, "function", *request.param.split("-"))


# Denied users who are signed in


def test_a_user_who_is_denied_is_sent_to_the_login_page(site, user):
    site.require("testapp.change_thing", route="")

    response = site.get("/", user)

    assert (response.status_code, response.url) == (302, "/login/?next=/")
    assert not site.has_run


def test_a_user_who_is_denied_gets_403_where_exceptions_are_wanted(site, user):
    site.require("testapp.change_thing", route="", raise_exception=True)

    assert site.get("/", user).status_code == 403
    assert not site.has_run


def test_default_403_is_for_users_who_are_signed_in_too(site, user):
    site.require("testapp.change_thing", route="")
    site.settings.DJEM_DEFAULT_403 = True

    assert site.get("/", user).status_code == 403


def test_a_denied_user_sees_the_login_page_also_after_objects_were_fetched(site, user, thing):
    site.require(USE_THING, "testapp.change_thing")

    assert site.get(f"/{thing.pk}/", user).url == f"/login/?next=/{thing.pk}/"


def test_a_named_login_url_is_resolved(site, settings):
    settings.LOGIN_URL = "sign-in"
    view = site.view("testapp.use_thing")
    settings.ROOT_URLCONF = (path("", view), path("in/", view, name="sign-in"))

    assert site.get("/").url == "/in/?next=/"


# What the decorated view is


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_view_keeps_its_name_and_stays_sync_or_async(mode):
    view = function_view(mode, [])
    view.csrf_exempt = True
    decorated = permission_required("testapp.use_thing")(view)

    assert decorated.__name__ == view.__name__
    assert decorated.__qualname__ == view.__qualname__
    assert decorated.__module__ == view.__module__
    assert decorated.csrf_exempt is True
    assert inspect.unwrap(decorated) is view
    assert inspect.iscoroutinefunction(decorated) is (mode == "async")
    assert iscoroutinefunction(decorated) is (mode == "async")
    assert not hasattr(view, "login_url")  # the view itself is as it was


def test_a_view_that_is_marked_as_async_is_wrapped_as_async(settings, user):
    site = Site(settings, client="async")
    native = function_view("async", site.runs)

    @markcoroutinefunction
    def marked(request):
        return native(request)

    for view in (marked, partial(native)):
        decorated = permission_required("testapp.use_thing")(view)
        site.serve(decorated)

        assert iscoroutinefunction(decorated)
        assert site.get("/", user).status_code == 200
    assert len(site.runs) == 2


def test_the_decorated_view_can_be_called_directly(user, thing):
    request = RequestFactory().get("/")
    request.user = user
    runs = []
    view = permission_required(USE_THING, raise_exception=True)(function_view("sync", runs))

    view(request, "positional", pk=thing.pk, other=1)
    assert runs[0][:2] == (("positional",), {"pk": thing, "other": 1})

    user.user_permissions.clear()
    user.clear_perm_cache()
    with pytest.raises(PermissionDenied):
        view(request, pk=thing.pk)
    assert len(runs) == 1


def test_the_arguments_of_the_caller_are_not_changed(user, thing):
    request = RequestFactory().get("/")
    request.user = user
    kwargs = {"pk": thing.pk}

    permission_required(USE_THING)(function_view("sync", []))(request, **kwargs)

    assert kwargs == {"pk": thing.pk}


def test_positional_arguments_reach_the_view(site, user):
    view = site.view("testapp.use_thing")
    site.settings.ROOT_URLCONF = (re_path("^([a-z]+)/([0-9]+)/$", view),)

    site.get("/abc/12/", user)

    assert site.runs[0].args == ("abc", "12")


def test_the_key_of_an_object_must_be_a_keyword_argument(site, user, thing):
    view = site.view(USE_THING)
    site.settings.ROOT_URLCONF = (re_path("^([0-9]+)/$", view),)

    with pytest.raises(ImproperlyConfigured, match="'pk'"):
        site.get(f"/{thing.pk}/", user)
    assert not site.has_run


@pytest.mark.parametrize(
    "perms",
    [
        (),
        (["testapp.use_thing", "testapp.change_thing"],),  # Django's own form
        (("testapp.use_thing",),),
        (function_view,),  # no parentheses
    ],
)
def test_mistakes_are_found_when_the_view_is_defined(perms):
    with pytest.raises(ImproperlyConfigured):
        permission_required(*perms)


def test_options_are_not_taken_for_permissions():
    with pytest.raises(TypeError):
        permission_required("testapp.use_thing", perm="testapp.change_thing")


# With other decorators


def test_stacked_decorators_fetch_an_object_once(site, user, thing, access_methods):
    checked = []
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, _: checked.append(self) or True,
        _user_can_change_thing=lambda self, _: checked.append(self) or True,
    )
    inner = permission_required(("testapp.change_thing", "pk"))(function_view(site.mode, site.runs))
    site.serve(permission_required(USE_THING)(inner), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", grant(user, "testapp.change_thing")).status_code == 200
    assert checked[0] is checked[1] is site.runs[0].kwargs["pk"]


@pytest.mark.parametrize("granted", ["outer", "inner"])
def test_stacked_decorators_must_all_grant(site, user, granted):
    names = {"outer": "testapp.change_thing", "inner": "testapp.change_thing"}
    names[granted] = "testapp.use_thing"
    view = permission_required(names["inner"])(function_view(site.mode, site.runs))
    site.serve(permission_required(names["outer"])(view))

    assert site.get("/", user).status_code == 302
    assert not site.has_run


def test_login_required_goes_in_front(site, user):
    view = login_required(login_url="/first/")(site.view("testapp.change_thing"))
    site.serve(view)

    assert site.get("/").url == "/first/?next=/"
    assert site.get("/", user).url == "/login/?next=/"


def _decorated_class(mode, runs, decorate):
    view = function_view(mode, runs)
    if mode == "sync":

        @decorate
        def get(self, request, **kwargs):
            return view(request, **kwargs)
    else:

        @decorate
        async def get(self, request, **kwargs):
            return await view(request, **kwargs)

    return type("DecoratedView", (View,), {"get": get})


def test_a_handler_is_decorated_by_method_decorator(site, user, thing, access_methods):
    decorate = method_decorator(permission_required(USE_THING, raise_exception=True))
    site.serve(_decorated_class(site.mode, site.runs, decorate).as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).status_code == 200
    assert site.runs[0].kwargs == {"pk": thing}
    assert site.get(f"/{thing.pk}/").status_code == 403
    assert site.get(f"/{thing.pk}/", method="HEAD").status_code == 403
    assert len(site.runs) == 1


@pytest.mark.parametrize("client", ["sync", "async"])
def test_the_dispatch_of_a_sync_class_is_decorated_by_method_decorator(
    settings, user, thing, client
):
    site = Site(settings, client=client)
    view_class = _decorated_class("sync", site.runs, lambda get: get)
    decorate = method_decorator(permission_required(USE_THING, raise_exception=True), "dispatch")
    site.serve(decorate(view_class).as_view(), "<int:pk>/")

    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        assert site.get(f"/{thing.pk}/", method=method).status_code == 403
    assert not site.has_run
    assert site.get(f"/{thing.pk}/", user).status_code == 200


# With Django's LoginRequiredMiddleware


@pytest.fixture
def guarded(site):
    """A site that asks anonymous users to sign in before a view is looked at."""
    site.settings.MIDDLEWARE = [*site.settings.MIDDLEWARE, LOGIN_REQUIRED]
    return site


def test_the_middleware_sends_to_the_login_url_of_the_view(guarded):
    guarded.require("testapp.use_thing", route="", login_url="/in/", raise_exception=True)

    assert guarded.get("/").url == "/in/?next=/"


def test_the_middleware_sends_to_the_default_login_url(guarded):
    guarded.require("testapp.use_thing", route="", raise_exception=True)

    assert guarded.get("/").url == "/login/?next=/"


def test_the_middleware_finds_its_attributes_on_the_view(site):
    view = permission_required("testapp.use_thing", login_url="/in/")(function_view("sync", []))

    assert (view.login_url, view.redirect_field_name) == ("/in/", "next")


def test_the_middleware_lets_signed_in_users_through(guarded, user, thing):
    guarded.require(USE_THING)

    assert guarded.get(f"/{thing.pk}/", user).status_code == 200


@pytest.mark.parametrize("is_outside", [True, False])
def test_login_not_required_leaves_the_decision_to_the_permission(guarded, is_outside):
    view = function_view(guarded.mode, guarded.runs)
    require = permission_required("testapp.use_thing", raise_exception=True)
    view = login_not_required(require(view)) if is_outside else require(login_not_required(view))
    guarded.serve(view)

    assert guarded.get("/").status_code == 403
    assert not guarded.has_run


def test_an_async_callable_object_is_refused_by_django_and_runs_for_nobody(settings, user):
    """It looks like a sync view, with or without the decorator."""

    class Callable:
        __name__ = "callable"
        has_run = False

        async def __call__(self, request):
            self.has_run = True
            return HttpResponse()

    site, view = Site(settings), Callable()
    site.serve(permission_required("testapp.change_thing")(view))

    assert site.get("/", user).status_code == 302
    assert not view.has_run
