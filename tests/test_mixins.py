"""``PermissionRequiredMixin``; what it shares with the decorator is in test_views.py."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import re_path
from django.views import View
from django.views.generic import DeleteView, DetailView, TemplateView

from djem_async import auth
from djem_async.auth import PermissionRequiredMixin, mixins, permission_required
from djem_async.exceptions import AsyncMethodError, NotADecisionError

from .conftest import grant
from .testapp.models import Thing, User
from .testapp.views import USE_THING, Site, view_class

MODES = ["sync", "async"]


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site with class-based views; the parameters are the modes of the view and the client."""
    return Site(settings, "class", *request.param.split("-"))


def allow(*_args):
    return True


def deny(*_args):
    return False


async def aallow(*_args):
    return True


async def adeny(*_args):
    return False


# Denied users who are signed in


@pytest.mark.parametrize("raise_exception", [True, False, None])
def test_a_signed_in_user_is_never_sent_to_the_login_page(site, user, raise_exception):
    options = {} if raise_exception is None else {"raise_exception": raise_exception}
    site.require("testapp.change_thing", route="", **options)

    assert site.get("/", user).status_code == 403
    assert not site.has_run


def test_the_message_and_the_redirect_field_are_those_of_the_view(site, user, monkeypatch):
    site.require("testapp.change_thing", route="", redirect_field_name="then")
    assert site.get("/").url == "/login/?then=/"

    view = view_class(
        site.mode,
        site.runs,
        permission_required="testapp.change_thing",
        permission_denied_message="Ask Anna",
        handle_no_permission=lambda self: HttpResponse(self.get_permission_denied_message()),
    )
    site.serve(view.as_view())
    assert site.get("/", user).content == b"Ask Anna"


@pytest.mark.parametrize("default", [True, False])
def test_an_attribute_takes_the_place_of_the_setting(site, default):
    site.settings.DJEM_DEFAULT_403 = not default
    base = view_class(
        site.mode, site.runs, permission_required="testapp.use_thing", raise_exception=default
    )

    site.serve(type("Child", (base,), {}).as_view())
    assert site.get("/").status_code == (403 if default else 302)

    site.serve(base.as_view(raise_exception=not default))
    assert site.get("/").status_code == (302 if default else 403)


@pytest.mark.parametrize("default", [True, False])
def test_raise_exception_can_be_read_from_the_class(settings, default):
    settings.DJEM_DEFAULT_403 = default

    assert PermissionRequiredMixin.raise_exception is default


# What is required


@pytest.mark.parametrize(
    "required", ["testapp.use_thing", ["testapp.use_thing"], ("testapp.use_thing",), [USE_THING]]
)
def test_the_requirement_is_a_name_or_a_sequence(site, user, thing, required):
    site.serve(
        view_class(site.mode, site.runs, permission_required=required).as_view(), "<int:pk>/"
    )

    assert site.get(f"/{thing.pk}/", user).status_code == 200
    user.user_permissions.clear()
    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert len(site.runs) == 1


def test_as_view_takes_the_requirement(site, user, thing):
    view = view_class(site.mode, site.runs, permission_required="testapp.use_thing")
    site.serve(view.as_view(permission_required=[("testapp.change_thing", "pk")]), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert site.get(f"/{thing.pk}/", grant(user, "testapp.change_thing")).status_code == 200


def test_get_permission_required_decides_by_request(site, user):
    def get_permission_required(self):
        yield "testapp.use_thing"
        if self.request.GET:
            yield "testapp.change_thing"

    view = view_class(site.mode, site.runs, get_permission_required=get_permission_required)
    site.serve(view.as_view())

    assert site.get("/", user).status_code == 200
    assert site.get("/?more=1", user).status_code == 403


def test_no_requirement_is_an_error_that_names_the_view(site, user):
    site.serve(view_class(site.mode, site.runs).as_view())

    with pytest.raises(ImproperlyConfigured, match="RequiringView requires no permission"):
        site.get("/", user)
    assert not site.has_run


@pytest.mark.parametrize("required", [(), [], ("testapp.use_thing", ()), [None], [{USE_THING}]])
def test_an_empty_or_malformed_requirement_is_an_error(site, user, required):
    site.serve(view_class(site.mode, site.runs, permission_required=required).as_view())

    with pytest.raises(ImproperlyConfigured):
        site.get("/", user)
    assert not site.has_run


def test_a_string_from_get_permission_required_is_an_error(site, user):
    user.is_superuser = True
    user.save()
    view = view_class(
        site.mode, site.runs, get_permission_required=lambda self: "testapp.use_thing"
    )
    site.serve(view.as_view())

    with pytest.raises(ImproperlyConfigured):
        site.get("/", user)
    assert not site.has_run


def test_an_async_get_permission_required_is_an_error(site, user):
    names = aallow()
    view = view_class(site.mode, site.runs, get_permission_required=lambda self: names)
    site.serve(view.as_view())

    with pytest.raises(TypeError):
        site.get("/", user)
    names.close()
    assert not site.has_run


# What the handler gets


def test_the_view_keeps_the_primary_key_and_the_handler_gets_the_object(site, user, thing):
    site.require(USE_THING, route="<int:pk>/")

    site.get(f"/{thing.pk}/", user)

    assert site.runs[0].kwargs == {"pk": thing}
    assert site.runs[0].view_kwargs == {"pk": thing.pk}


def test_positional_arguments_reach_the_handler(site, user):
    view = site.view("testapp.use_thing")
    site.settings.ROOT_URLCONF = (re_path("^([a-z]+)/([0-9]+)/$", view),)

    site.get("/abc/12/", user)

    assert site.runs[0].args == ("abc", "12")


@pytest.mark.parametrize(
    ("method", "status_code"),
    [("GET", 200), ("HEAD", 200), ("POST", 200), ("OPTIONS", 200), ("PUT", 405), ("QUIZ", 405)],
)
def test_every_method_is_served_to_those_who_may(site, user, method, status_code):
    site.require("testapp.use_thing", route="")

    response = site.get("/", user, method)

    assert response.status_code == status_code
    assert ("Allow" in response.headers) is (method in {"OPTIONS", "PUT", "QUIZ"})
    assert site.has_run is (method in {"GET", "HEAD", "POST"})


@pytest.mark.parametrize("mode", MODES)
def test_the_view_is_marked_async_if_its_handlers_are(mode):
    view = view_class(mode, [], permission_required="testapp.use_thing").as_view()

    assert iscoroutinefunction(view) is (mode == "async")


# Overrides: has_permission


@pytest.mark.parametrize("name", ["has_permission", "ahas_permission"])
@pytest.mark.parametrize("answer", [allow, deny, aallow, adeny])
def test_an_override_of_one_form_decides_for_both_modes(site, user, name, answer):
    site.serve(view_class(site.mode, site.runs, **{name: answer}).as_view())

    if name == "ahas_permission" and answer in {allow, deny}:
        # It is no `async def`, as its name says it is.
        with pytest.raises(NotADecisionError):
            site.get("/", user)
        assert not site.has_run
    else:
        may_run = answer in {allow, aallow}
        assert site.get("/", user).status_code == (200 if may_run else 403)
        assert site.has_run is may_run


@pytest.mark.parametrize("answer", [allow, deny])
def test_an_override_given_to_as_view_decides(site, user, answer):
    view = view_class(site.mode, site.runs, permission_required="testapp.use_thing")
    site.serve(view.as_view(has_permission=answer))

    assert site.get("/", user).status_code == (200 if answer is allow else 403)


def test_a_coroutine_that_an_override_returns_is_never_an_answer(site, user):
    """A forgotten `await`: it is made good where it can be, else it is an error."""
    site.serve(view_class(site.mode, site.runs, has_permission=lambda *_: adeny()).as_view())

    if site.mode == "sync":
        with pytest.raises(NotADecisionError):
            site.get("/", user)
    else:
        assert site.get("/", user).status_code == 403
    assert not site.has_run


def test_a_coroutine_that_an_async_override_returns_is_never_an_answer(site, user):
    async def ahas_permission(self, view_kwargs):
        return adeny()

    site.serve(view_class(site.mode, site.runs, ahas_permission=ahas_permission).as_view())

    assert site.get("/", user).status_code == 403
    assert not site.has_run


def test_a_check_that_an_override_does_not_await_is_an_error(site, user):
    def has_permission(self, view_kwargs):
        return bool(User(pk=1).ahas_perm("testapp.use_thing"))

    site.serve(view_class(site.mode, site.runs, has_permission=has_permission).as_view())

    with pytest.raises(TypeError, match="not awaited"):
        site.get("/", user)
    assert not site.has_run


@pytest.mark.parametrize("answer", [True, False])
def test_an_override_builds_on_the_check_of_the_mixin(site, user, thing, answer):
    class Extended(PermissionRequiredMixin):
        def has_permission(self, view_kwargs):
            return super().has_permission(view_kwargs) and view_kwargs["pk"].name == self.wanted

    base = view_class(site.mode, site.runs, permission_required=[USE_THING])
    attributes = {"wanted": "a thing" if answer else "another"}
    site.serve(type("V", (Extended, base), attributes).as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).status_code == (200 if answer else 403)
    if answer:
        assert site.runs[0].kwargs == {"pk": thing}


@pytest.mark.parametrize("answer", [True, False])
def test_an_async_override_builds_on_the_check_of_the_mixin(site, user, thing, answer):
    class Extended(PermissionRequiredMixin):
        async def ahas_permission(self, view_kwargs):
            return await super().ahas_permission(view_kwargs) and answer

    base = view_class(site.mode, site.runs, permission_required=[USE_THING])
    site.serve(type("V", (Extended, base), {}).as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).status_code == (200 if answer else 403)
    assert site.has_run is answer


def test_the_async_check_follows_an_override_of_the_sync_one_alone():
    class Overridden(PermissionRequiredMixin):
        def has_permission(self, view_kwargs):
            return view_kwargs["answer"]

    check = async_to_sync(Overridden().ahas_permission)
    assert check({"answer": True}) is True
    assert check({"answer": False}) is False


def test_a_check_of_the_mixin_that_was_not_awaited_has_no_truth_value():
    with pytest.raises(TypeError, match="not awaited"):
        bool(PermissionRequiredMixin().ahas_permission({}))


def test_a_base_behind_the_mixin_hears_of_subclasses():
    heard = []

    class Listening:
        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__()
            heard.append((cls.__name__, kwargs))

    class Guarded(PermissionRequiredMixin, Listening, word="x"):
        pass

    assert heard == [("Guarded", {"word": "x"})]


def test_an_override_with_djangos_signature_is_an_error(site, user):
    site.serve(view_class(site.mode, site.runs, has_permission=lambda self: True).as_view())

    with pytest.raises(TypeError):
        site.get("/", user)
    assert not site.has_run


def test_an_exception_in_an_override_propagates(site, user):
    def has_permission(self, view_kwargs):
        raise ZeroDivisionError

    site.serve(view_class(site.mode, site.runs, has_permission=has_permission).as_view())

    with pytest.raises(ZeroDivisionError):
        site.get("/", user)
    assert not site.has_run


# Overrides: handle_no_permission, dispatch


def teapot(self):
    name = self.request.user.get_username()  # may be loaded here, in every mode
    return HttpResponse(f"not for {name}", status=418)


async def ateapot(self):
    name = (await self.request.auser()).get_username()
    return HttpResponse(f"not for {name}", status=418)


def test_the_answer_to_the_denied_can_be_overridden(site, user):
    site.require("testapp.change_thing", route="", handle_no_permission=teapot)

    response = site.get("/", user)

    assert (response.status_code, response.content) == (418, b"not for user.name")
    assert not site.has_run


def test_the_answer_to_the_denied_can_be_async_in_an_async_view(settings, user):
    site = Site(settings, "class", "async")
    site.require("testapp.change_thing", route="", handle_no_permission=ateapot)

    response = site.get("/", user)

    assert (response.status_code, response.content) == (418, b"not for user.name")


def test_an_async_answer_to_the_denied_is_an_error_in_a_sync_view(settings, user):
    """Django's, as for any sync view that returns a coroutine."""
    site, answer = Site(settings, "class"), adeny()
    site.require("testapp.change_thing", route="", handle_no_permission=lambda self: answer)

    with pytest.raises(ValueError, match="unawaited coroutine"):
        site.get("/", user)
    answer.close()
    assert not site.has_run


def test_an_answer_that_turns_out_to_be_a_coroutine_is_awaited(settings, user):
    site = Site(settings, "class", "async")
    site.require("testapp.change_thing", route="", handle_no_permission=lambda self: ateapot(self))

    assert site.get("/", user).status_code == 418


def test_the_login_url_can_be_overridden(site):
    site.require("testapp.use_thing", route="", get_login_url=lambda self: "/somewhere/")

    assert site.get("/").url == "/somewhere/?next=/"


def test_dispatch_can_be_overridden_around_the_check(site, user):
    asked = []

    class Outer(PermissionRequiredMixin):
        def dispatch(self, request, *args, **kwargs):
            asked.append(kwargs)
            return super().dispatch(request, *args, **kwargs)

    base = view_class(site.mode, site.runs, permission_required="testapp.change_thing")
    site.serve(type("V", (Outer, base), {}).as_view())

    assert site.get("/", user).status_code == 403
    assert asked == [{}]
    assert not site.has_run


def test_login_required_mixin_goes_in_front(settings, user):
    site = Site(settings, "class")
    base = view_class("sync", site.runs, permission_required="testapp.use_thing", login_url="/in/")
    site.serve(type("V", (LoginRequiredMixin, base), {}).as_view())

    assert site.get("/").url == "/in/?next=/"
    assert site.get("/", user).status_code == 200


def test_the_view_can_be_decorated_as_well(site, user, thing):
    view = view_class(site.mode, site.runs, permission_required=[USE_THING]).as_view()
    site.serve(permission_required(("testapp.change_thing", "pk"))(view), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).status_code == 302
    assert site.get(f"/{thing.pk}/", grant(user, "testapp.change_thing")).status_code == 200
    assert site.runs[0].kwargs == {"pk": thing}


# With Django's LoginRequiredMiddleware


def test_login_required_middleware_comes_first(site, user):
    site.settings.MIDDLEWARE = [
        *site.settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    site.require("testapp.use_thing", route="", raise_exception=True)

    assert site.get("/").url == "/login/?next=/"
    assert site.get("/", user).status_code == 200


# With Django's generic views


class ThingDetail(PermissionRequiredMixin, DetailView):
    model = Thing
    permission_required = [USE_THING]
    template_name = "testapp/thing.html"

    def get_context_data(self, **kwargs):
        return super().get_context_data(user=self.request.user, **kwargs)


def test_a_detail_view_finds_its_object_by_the_key_that_it_keeps(settings, user, thing):
    site = Site(settings, "class")
    site.serve(ThingDetail.as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).content.strip() == b"<b>a thing</b>"
    assert site.get(f"/{thing.pk}/").status_code == 302
    assert site.get("/0/", user).status_code == 404


class AsyncThingDetail(PermissionRequiredMixin, DetailView):
    model = Thing
    permission_required = [USE_THING]

    async def get(self, request, pk):
        return HttpResponse(pk.name)


def test_a_detail_view_with_an_async_handler_uses_the_object_that_was_checked(
    settings, user, thing
):
    site = Site(settings, "class", "async", "async")
    site.serve(AsyncThingDetail.as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).content == b"a thing"
    assert site.get(f"/{thing.pk}/").status_code == 302


class ThingDelete(PermissionRequiredMixin, DeleteView):
    model = Thing
    permission_required = [("testapp.delete_thing", "pk")]
    success_url = "/gone/"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_delete_view_deletes_only_what_may_be_deleted(
    settings, user, thing, access_methods, method
):
    site = Site(settings, "class")
    site.serve(ThingDelete.as_view(), "<int:pk>/")
    user = grant(user, "testapp.delete_thing")

    access_methods(Thing, _user_can_delete_thing=deny)
    assert site.get(f"/{thing.pk}/", user, method).status_code == 403
    assert Thing.objects.filter(pk=thing.pk).exists()

    access_methods(Thing, _user_can_delete_thing=allow)
    assert site.get(f"/{thing.pk}/", user, "POST").url == "/gone/"
    assert not Thing.objects.filter(pk=thing.pk).exists()


class Page(PermissionRequiredMixin, TemplateView):
    permission_required = [USE_THING]
    template_name = "testapp/thing.html"


def test_a_template_view_has_the_object_in_its_context(settings, user, thing):
    site = Site(settings, "class")
    site.serve(Page.as_view(), "<int:pk>/", user=user, thing=thing)

    assert site.get(f"/{thing.pk}/", user).context_data["pk"] == thing


class Sneaky(PermissionRequiredMixin, View):
    """Its handlers look sync, and return coroutines."""

    permission_required = "testapp.change_thing"
    has_run = False

    def get(self, request):
        return self.aget(request)

    async def aget(self, request):  # pragma: no cover - this is what must not run
        type(self).has_run = True
        return HttpResponse()


@pytest.mark.parametrize("client", MODES)
def test_a_view_that_hides_that_it_is_async_is_denied_too(settings, user, client):
    site = Site(settings, "class", client=client)
    site.serve(Sneaky.as_view())

    assert site.get("/", user).status_code == 403
    assert not Sneaky.has_run


def test_an_async_override_cannot_decide_for_a_sync_view_on_an_event_loop(user, thing):
    runs = []
    view = view_class("sync", runs, permission_required=[USE_THING], has_permission=aallow)
    request = RequestFactory().get("/")
    request.user = user

    async def call():
        return view.as_view()(request, pk=thing.pk)

    with pytest.raises(AsyncMethodError):
        async_to_sync(call)()
    assert not runs


def test_permission_denied_in_a_handler_is_its_own(site, user):
    def refuse(self, request):
        raise PermissionDenied

    async def arefuse(self, request):
        raise PermissionDenied

    handler = refuse if site.mode == "sync" else arefuse
    view = view_class(site.mode, site.runs, permission_required="testapp.use_thing", get=handler)
    site.serve(view.as_view())

    assert site.get("/", user).status_code == 403
    assert site.get("/").status_code == 302


# Mistakes


def test_the_mixin_has_to_be_listed_ahead_of_the_view():
    with pytest.raises(ImproperlyConfigured, match="Late lists PermissionRequiredMixin after"):

        class Late(View, PermissionRequiredMixin):
            permission_required = USE_THING


class ByUser(PermissionRequiredMixin):
    def get_permission_required(self):
        name = "use_thing" if self.request.user.is_authenticated else "no_thing"
        return [f"testapp.{name}"]


class SyncByUser(ByUser, View):
    def get(self, request):
        return HttpResponse("done")


class AsyncByUser(ByUser, View):
    async def get(self, request):
        return HttpResponse("done")


@pytest.mark.parametrize("view", [SyncByUser, AsyncByUser])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_required_can_be_decided_by_the_user_of_the_request(settings, user, view, mode):
    site = Site(settings, "class", "sync", mode)
    site.serve(view.as_view())

    assert site.get("/", user).status_code == 200
    assert site.get("/").status_code == 302


def test_the_mixin_is_loaded_when_it_is_asked_for(monkeypatch):
    monkeypatch.delitem(vars(auth), "PermissionRequiredMixin")
    assert auth.PermissionRequiredMixin is mixins.PermissionRequiredMixin
    assert vars(auth)["PermissionRequiredMixin"] is mixins.PermissionRequiredMixin
    assert sorted(auth.__all__) == [
        "ObjectPermissionsBackend",
        "PermissionRequiredMixin",
        "permission_required",
    ]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        auth.nothing  # noqa: B018
