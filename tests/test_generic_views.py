"""Mixins for Django's generic views, and `dispatch` of async class-based views."""

from functools import wraps
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.mixins import LoginRequiredMixin, UserPassesTestMixin
from django.contrib.auth.mixins import PermissionRequiredMixin as DjangoMixin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connection
from django.db.models import Q
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.generic import DeleteView, DetailView, ListView
from django.views.generic.detail import SingleObjectMixin
from django.views.generic.list import MultipleObjectMixin

from djem_async.auth import (
    ObjectPermissionRequiredMixin,
    PermissionListMixin,
    PermissionRequiredMixin,
    permission_required,
)

from .conftest import grant, permission
from .testapp.models import Page, PageProxy, PlainUser, Thing
from .testapp.views import USE_THING, Site, function_view

READ = "testapp.read_page"
USE = "testapp.use_thing"


@pytest.fixture(params=["sync-sync", "sync-async", "async-sync", "async-async"])
def site(request, settings, db):
    """A site; the parameters are the modes of the view and the client."""
    return Site(settings, "class", *request.param.split("-"))


def show_object(self, request, **kwargs):
    return HttpResponse(f"{self.get_object()} {self.get_object(queryset=None)}")


async def ashow_object(self, request, **kwargs):
    return show_object(self, request)


def show_list(self, request, **kwargs):
    return HttpResponse(" ".join(sorted(str(each) for each in self.get_queryset())))


async def ashow_list(self, request, **kwargs):
    return HttpResponse(" ".join(sorted([str(each) async for each in self.get_queryset()])))


@pytest.fixture
def serve(site):
    """Serve a view class with these bases and attributes."""
    handlers = {
        SingleObjectMixin: {"sync": show_object, "async": ashow_object},
        MultipleObjectMixin: {"sync": show_list, "async": ashow_list},
    }

    def serve(*bases, **attributes):
        handler = handlers[bases[-1]][site.mode]
        view = type("V", (*bases, View), {"get": handler, **attributes})
        site.serve(view.as_view(), "<int:pk>/" if bases[-1] is SingleObjectMixin else "")

    return serve


OBJECT = (ObjectPermissionRequiredMixin, SingleObjectMixin)
LIST = (PermissionListMixin, MultipleObjectMixin)


def by_name(self, user):
    if self.name == "closed":
        raise PermissionDenied("It is closed")
    return self.name == "a thing"


# ObjectPermissionRequiredMixin


@pytest.mark.parametrize("required", [USE, [USE], (USE, "testapp.view_thing")])
def test_object_of_the_view_is_checked(site, serve, user, thing, access_methods, required):
    access_methods(Thing, _user_can_use_thing=by_name)
    user = grant(user, "testapp.view_thing")
    closed = Thing.objects.create(name="closed")
    serve(*OBJECT, model=Thing, permission_required=required)

    assert site.get(f"/{thing.pk}/", user).content == b"a thing a thing"
    refused = site.get(f"/{closed.pk}/", user)
    assert refused.status_code == 403
    assert site.get(f"/{closed.pk}/").url == f"/login/?next=/{closed.pk}/"
    assert site.get("/0/", user).status_code == 404
    user.user_permissions.clear()
    assert site.get(f"/{thing.pk}/", user).status_code == 403
    serve(*OBJECT, model=Thing, permission_required=USE, raise_exception=True)
    assert site.get(f"/{thing.pk}/").status_code == 403


def test_object_is_fetched_once(site, serve, user, thing):
    calls = []

    class Counting(SingleObjectMixin):
        def get_object(self, queryset=None):
            calls.append(queryset)
            return super().get_object(queryset)

    class AsyncCounting(SingleObjectMixin):
        async def get_object(self, queryset=None):
            calls.append(queryset)
            return await Thing.objects.aget(pk=self.kwargs["pk"])

    async def handle(self, request, **kwargs):
        return HttpResponse(f"{await self.get_object()}")

    serve(
        ObjectPermissionRequiredMixin,
        Counting,
        SingleObjectMixin,
        model=Thing,
        permission_required=USE,
    )
    assert site.get(f"/{thing.pk}/", user).status_code == 200
    assert calls == [None]
    if site.mode == "async":
        bases = (ObjectPermissionRequiredMixin, AsyncCounting, SingleObjectMixin)
        serve(*bases, get=handle, permission_required=USE)
        assert site.get(f"/{thing.pk}/", user).content == b"a thing"
        assert calls == [None, None]


@pytest.mark.parametrize("found", [None, [], "thing", Thing])
def test_get_object_without_an_object_is_an_error(site, serve, superuser, found):
    serve(*OBJECT, get_object=lambda self: found, permission_required=USE)
    with pytest.raises(ImproperlyConfigured, match=r"V\.get_object\(\) returned"):
        site.get("/1/", superuser)


def test_names_that_cannot_be_required_of_an_object(site, serve, superuser, thing):
    for name in ("testapp.use_thnig", "use_thing", ""):
        serve(*OBJECT, model=Thing, permission_required=name)
        assert site.get(f"/{thing.pk}/", superuser).status_code == 403
    for required, message in [
        (None, "V requires no permission"),
        ([], "No permission is required"),
        ([USE, USE_THING], "by name"),
    ]:
        serve(*OBJECT, model=Thing, permission_required=required)
        with pytest.raises(ImproperlyConfigured, match=message):
            site.get(f"/{thing.pk}/", superuser)


def test_reason_reaches_the_refusal(site, serve, user, access_methods):
    access_methods(Thing, _user_can_use_thing=by_name)
    closed = Thing.objects.create(name="closed")
    messages = {
        "handle_no_permission": lambda self: HttpResponse(self.get_permission_denied_message())
    }
    serve(*OBJECT, model=Thing, permission_required=USE, **messages)
    assert site.get(f"/{closed.pk}/", user).content == b"It is closed"


def test_django_generic_views(settings, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=by_name)
    closed = Thing.objects.create(name="closed")
    site = Site(settings)

    class Delete(ObjectPermissionRequiredMixin, DeleteView):
        model = Thing
        permission_required = USE
        success_url = "/done/"

    class Detail(ObjectPermissionRequiredMixin, DetailView):
        model = Thing
        permission_required = USE
        template_name = "testapp/thing.html"

    site.serve(Detail.as_view(), "<int:pk>/")
    with CaptureQueriesContext(connection) as queries:
        assert site.get(f"/{thing.pk}/", user).context_data["object"] == thing
    assert len([each for each in queries if 'FROM "testapp_thing"' in each["sql"]]) <= 1
    site.serve(Delete.as_view(), "<int:pk>/")
    assert site.get(f"/{closed.pk}/", user, method="POST").status_code == 403
    assert site.get(f"/{thing.pk}/", user, method="POST").url == "/done/"
    assert list(Thing.objects.all()) == [closed]


# PermissionListMixin


@pytest.fixture
def pages(user, access_methods):
    """Two pages of the user, another one, and a query form that knows them."""
    form = classmethod(lambda cls, asked: Q(owner=asked.pk))
    access_methods(Page, _quser_can_read_page=form)
    grant(user, READ)
    Page.objects.create(title="foreign")
    return [Page.objects.create(title=title, owner=user) for title in ("one", "two")]


def final_queryset(self):
    return Page.objects.exclude(title="two")


async def final_async_queryset(self):
    return Page.objects.exclude(title="two")


@pytest.mark.parametrize(
    ("attributes", "listed"),
    [
        ({"model": Page}, b"one two"),
        ({"queryset": Page.objects.exclude(title="one")}, b"two"),
        ({"get_queryset": final_queryset}, b"one"),
        ({"model": Page, "get_queryset": lambda self: PageProxy.objects.all()}, b"one two"),
        ({"get_queryset": lambda self: PageProxy.objects.filter(title="one")}, b"one"),
    ],
)
def test_list_shows_what_the_user_has_the_permission_on(
    site, serve, user, pages, attributes, listed
):
    serve(*LIST, permission_required=READ, **attributes)
    assert site.get("/", user).content == listed
    assert site.get("/").content == b""
    user.user_permissions.clear()
    assert site.get("/", user).content == b""


def test_async_get_queryset_is_filtered(settings, user, pages):
    async def handle(self, request):
        return HttpResponse(" ".join([str(each) async for each in await self.get_queryset()]))

    site = Site(settings, client="async")
    names = {"permission_required": READ, "get": handle, "get_queryset": final_async_queryset}
    site.serve(type("V", (PermissionListMixin, View), names).as_view())
    assert site.get("/", user).content == b"one"


def test_list_by_a_permission_of_another_model(site, serve, user, pages, access_methods):
    form = classmethod(lambda cls, asked: Q(owner=asked.pk))
    access_methods(Page, _quser_can_add_memo=form)
    grant(user, "testapp.add_memo")
    serve(*LIST, permission_required="testapp.add_memo", get_queryset=final_queryset)
    assert site.get("/", user).content == b"one"


@pytest.mark.parametrize("model", [Page, None])
def test_list_of_a_user_without_olp_mixin(settings, site, serve, pages, access_methods, model):
    settings.MIDDLEWARE = [f"{__name__}.plain_user"]
    access_methods(Page, _quser_can_read_page=classmethod(lambda cls, user: Q(title=user.name)))
    plain = PlainUser.objects.create(name="one")
    plain.user_permissions.add(permission(READ))
    serve(*LIST, permission_required=READ, model=model, get_queryset=final_queryset)
    assert site.get("/").content == b"one"


def plain_user(get_response):
    def middleware(request):
        request.user = SimpleLazyObject(PlainUser.objects.get)
        return get_response(request)

    return middleware


@pytest.mark.parametrize("found", [None, [], [Page()], Page, Page.objects, "pages"])
def test_get_queryset_without_a_queryset_is_an_error(site, serve, superuser, found):
    serve(*LIST, permission_required=READ, get_queryset=lambda self: found)
    with pytest.raises(ImproperlyConfigured, match=r"V\.get_queryset\(\) returned a"):
        site.get("/", superuser)


def test_list_by_other_than_one_name_is_an_error(site, serve, superuser):
    for required in ([READ, USE], [(READ, "pk")], None):
        serve(*LIST, model=Page, permission_required=required)
        with pytest.raises(ImproperlyConfigured):
            site.get("/", superuser)
    serve(*LIST, model=Page, permission_required="testapp.raed_page")
    with pytest.raises(ImproperlyConfigured, match="read_page"):
        site.get("/", superuser)


def test_list_view_counts_and_pages_the_filtered_list(settings, user, pages):
    class Pages(PermissionListMixin, ListView):
        model = Page
        permission_required = READ
        paginate_by = 1
        ordering = "-title"
        template_name = "testapp/thing.html"

    site = Site(settings)
    site.serve(Pages.as_view())
    context = site.get("/?page=2", user).context_data
    assert list(context["object_list"]) == pages[:1]
    assert context["paginator"].count == 2


# Together


def test_mixins_check_in_the_order_in_which_they_are_listed(site, serve, user, pages):
    foreign = Page.objects.get(title="foreign")
    mixins = (ObjectPermissionRequiredMixin, PermissionListMixin)
    for order, status in [(mixins, 403), (mixins[::-1], 404)]:
        serve(*order, SingleObjectMixin, model=Page, permission_required=READ)
        assert site.get(f"/{foreign.pk}/", user).status_code == status
        assert site.get(f"/{pages[0].pk}/", user).content == b"one one"

    class Either(PermissionRequiredMixin, ObjectPermissionRequiredMixin, SingleObjectMixin):
        permission_required = "testapp.change_page"

        def has_permission(self, view_kwargs):
            return view_kwargs["pk"] == pages[0].pk

    serve(Either, SingleObjectMixin, model=Page)
    assert site.get(f"/{pages[0].pk}/", user).status_code == 403
    user = grant(user, "testapp.change_page")
    assert site.get(f"/{pages[0].pk}/", user).status_code == 200
    assert site.get(f"/{pages[1].pk}/", user).status_code == 403


@pytest.mark.parametrize("mixin", [ObjectPermissionRequiredMixin, PermissionListMixin])
def test_mixin_after_the_view_class_is_an_error(mixin):
    for bases in [(View, mixin), (PermissionRequiredMixin, DetailView, mixin)]:
        with pytest.raises(ImproperlyConfigured, match=f"Late lists {mixin.__name__} after"):
            type("Late", bases, {"permission_required": USE})


# Async handlers


def passed_on(view):
    @wraps(view)
    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


REQUIRE = permission_required(USE_THING, raise_exception=True)
DISPATCH = {
    "alone": REQUIRE,
    "redirect": permission_required(USE_THING),
    "twice": [permission_required(USE, raise_exception=True), REQUIRE],
    "outside": [REQUIRE, passed_on],
    "inside": [passed_on, REQUIRE],
}


@pytest.mark.parametrize("name", DISPATCH)
def test_dispatch_can_be_decorated(site, user, thing, access_methods, name):
    access_methods(Thing, _user_can_use_thing=by_name)
    closed = Thing.objects.create(name="closed")
    view = function_view(site.mode, site.runs)

    def handle(self, request, **kwargs):
        return view(request, **kwargs)

    async def ahandle(self, request, **kwargs):
        return await view(request, **kwargs)

    handlers = dict.fromkeys(["get", "post"], handle if site.mode == "sync" else ahandle)
    decorate = method_decorator(DISPATCH[name], name="dispatch")
    site.serve(decorate(type("V", (View,), handlers)).as_view(), "<int:pk>/")

    assert site.get(f"/{thing.pk}/", user).content == b"ran"
    assert site.get(f"/{thing.pk}/", user, method="OPTIONS").headers["Allow"]
    assert site.get(f"/{thing.pk}/", user, method="PUT").status_code == 405
    refused = site.get(f"/{closed.pk}/", user)
    assert refused.status_code == (302 if name == "redirect" else 403)
    assert site.get(f"/{thing.pk}/").status_code == refused.status_code
    assert [run.kwargs for run in site.runs] == [{"pk": thing}]


DJANGOS = [LoginRequiredMixin, UserPassesTestMixin, DjangoMixin]
OURS = [PermissionRequiredMixin, ObjectPermissionRequiredMixin, PermissionListMixin]


@pytest.mark.parametrize("mixin", OURS)
@pytest.mark.parametrize("django_mixin", DJANGOS)
def test_django_mixin_on_an_async_class_is_an_error(mixin, django_mixin):
    for bases in [(django_mixin, mixin, View), (mixin, django_mixin, View)]:
        base = type("Base", bases, {})  # without handlers, both are possible
        type("Sync", (base,), {"get": show_list}).as_view()
        with pytest.raises(ImproperlyConfigured, match=rf"Async .*{django_mixin.__name__}"):
            type("Async", (base,), {"get": ashow_list})
        with pytest.raises(ImproperlyConfigured, match="Remove that mixin"):
            type("Async", (*bases[:2], type("Handlers", (View,), {"post": ashow_list})), {})


def test_decorated_class_that_finds_its_object_is_an_error():
    view = DetailView.as_view(model=Thing)
    with pytest.raises(ImproperlyConfigured, match="ObjectPermissionRequiredMixin"):
        permission_required((USE, "pk"))(view)
    assert permission_required(USE)(view)
    assert permission_required((USE, "pk"))(View.as_view())


@pytest.mark.parametrize("mixin", [ObjectPermissionRequiredMixin, PermissionListMixin])
def test_check_that_is_never_called_is_an_error(mixin):
    with pytest.raises(ImproperlyConfigured, match="has_permission is never called"):
        type("Wrong", (mixin, View), {"has_permission": lambda self, view_kwargs: False})


class AuthenticatesLate(View):
    """As those of Django REST framework."""

    def perform_authentication(self, request: Any) -> None: ...


WAYS: dict[str, Any] = {
    "mixin": lambda kind: type("Mixed", (PermissionRequiredMixin, kind), {}),
    "list mixin": lambda kind: type("Mixed", (PermissionListMixin, kind), {}),
    "decorator": lambda kind: permission_required(USE)(kind.as_view()),
    "dispatch": lambda kind: method_decorator(permission_required(USE), name="dispatch")(
        type("Decorated", (kind,), {})
    ).as_view()(RequestFactory().get("/")),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_view_that_authenticates_by_itself_is_an_error(way):
    assert way(View)
    with pytest.raises(ImproperlyConfigured, match="authenticates after"):
        way(AuthenticatesLate)


def test_decorated_method_is_an_error():
    class Profile(View):
        @permission_required(USE)
        def get(self, request: Any) -> Any: ...

        @permission_required(USE)
        async def aget(self, request: Any) -> Any: ...

    request = RequestFactory().get("/")
    with pytest.raises(ImproperlyConfigured, match="method_decorator"):
        Profile().get(request)
    with pytest.raises(ImproperlyConfigured, match="method_decorator"):
        async_to_sync(Profile().aget)(request)
