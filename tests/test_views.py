"""Views that require permissions: the decorator, and what it shares with the mixin."""

import inspect
import itertools
from functools import partial

import pytest
from asgiref.sync import AsyncToSync, iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404
from django.urls import path, re_path

from djem_async.auth import permission_required

from .conftest import adeny, deny, grant
from .testapp.models import Document, OtherThing, SpecialThing, Thing, ThingProxy, User
from .testapp.views import KINDS, USE_THING, Site, function_view

MODES = ["sync", "async"]
CHANGE_THING = ("testapp.change_thing", "pk")


@pytest.fixture(params=KINDS, ids="-".join)
def site(request, settings, db):
    """A site for each kind of view, with the client of the view's mode."""
    kind, mode = request.param
    return Site(settings, kind, mode, mode)


@pytest.fixture(params=MODES)
def functions(request, settings, db):
    """A site for functions only."""
    return Site(settings, "function", request.param, request.param)


@pytest.fixture
def visit(site):
    """Call a view without a server: ``visit(user, perms, **view_kwargs)``, see `Site.run_of`."""
    return site.run_of


# Granted


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@pytest.mark.parametrize("client", MODES)
def test_view_gets_the_checked_object(settings, user, thing, access_methods, kind, mode, client):
    checked = []
    access_methods(Thing, _user_can_use_thing=lambda self, _: checked.append(self) or True)
    site = Site(settings, kind, mode, client)
    site.require("testapp.use_thing", USE_THING, route="<str:pk>/<int:page>/")

    response = site.get(f"/{thing.pk}/3/", user)

    assert (response.status_code, response.content) == (200, b"ran")
    assert [run.kwargs for run in site.runs] == [{"pk": thing, "page": 3}]
    assert site.runs[0].kwargs["pk"] is checked[0]
    assert site.get(f"/{thing.pk}/3/").url == f"/login/?next=/{thing.pk}/3/"
    assert len(site.runs) == 1


def test_several_permissions_and_objects(visit, user, thing, access_methods):
    checked = []
    method = lambda self, _: checked.append(self) or True  # noqa: E731
    access_methods(Thing, _user_can_use_thing=method, _user_can_change_thing=method)
    access_methods(OtherThing, _user_can_change_otherthing=method)
    user = grant(user, "testapp.change_thing", "testapp.change_otherthing")
    other = OtherThing.objects.create()
    perms = ["testapp.use_thing", USE_THING, ("testapp.change_otherthing", "other"), CHANGE_THING]

    run = visit(user, perms, pk=thing.pk, other=other.pk)

    assert run.kwargs == {"pk": thing, "other": other}
    assert checked == [thing, other, thing]
    assert checked[0] is checked[2] is run.kwargs["pk"]


def test_primary_key_of_any_type_finds_its_object(visit, superuser, thing):
    Thing.objects.create(pk=thing.pk * 10 + 1)
    document = Document.objects.create()
    session = Session.objects.create(
        session_key="a.b~ c", session_data="", expire_date="2100-01-01T00:00Z"
    )
    for perm, pk, obj in [
        ("testapp.change_thing", str(thing.pk), thing),
        ("testapp.change_thingproxy", thing.pk, ThingProxy.objects.get(pk=thing.pk)),
        ("testapp.change_document", str(document.pk), document),
        ("sessions.change_session", "a.b~ c", session),
    ]:
        found = visit(superuser, [(perm, "pk")], pk=pk).kwargs["pk"]
        assert (type(found), found.pk) == (type(obj), obj.pk)


def test_positional_arguments_reach_the_view_and_are_no_keys(site, user, thing):
    site.settings.ROOT_URLCONF = (re_path("^([0-9]+)/$", site.view("testapp.use_thing")),)
    site.get(f"/{thing.pk}/", user)
    assert site.runs.pop().args == (str(thing.pk),)

    site.settings.ROOT_URLCONF = (re_path("^([0-9]+)/$", site.view(USE_THING)),)
    with pytest.raises(ImproperlyConfigured, match="'pk'"):
        site.get(f"/{thing.pk}/", user)
    assert not site.has_run


# Denied


@pytest.mark.parametrize("raise_exception", [True, False])
def test_anonymous_user_is_denied_for_every_method(site, raise_exception):
    site.require("testapp.use_thing", route="", raise_exception=raise_exception)

    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE", "QUIZ"):
        response = site.get("/", method=method)

        assert response.status_code == (403 if raise_exception else 302)
        assert "Allow" not in response.headers
    assert not site.has_run


@pytest.mark.parametrize("login_url", [None, "/in/", "//testserver/in/", "http://id.example/?a=1"])
def test_redirect_to_the_login_page(site, login_url):
    site.require("testapp.use_thing", route="", login_url=login_url)
    url = site.get("/?page=2").url
    next_url = "http%3A//testserver/" if login_url and "id.example" in login_url else "/"

    assert url.startswith(login_url or "/login/")
    assert url.endswith(f"next={next_url}%3Fpage%3D2")


def test_default_403_is_read_when_the_view_runs(site):
    for default, status_code in [(False, 302), (True, 403), (False, 302)]:
        site.settings.DJEM_DEFAULT_403 = default
        site.require("testapp.use_thing", route="", raise_exception=not default)
        assert site.get("/").status_code == (302 if default else 403)
        site.require("testapp.use_thing", route="")
        assert site.get("/").status_code == status_code

    site.settings.DJEM_DEFAULT_403 = "False"
    with pytest.raises(ImproperlyConfigured, match="DJEM_DEFAULT_403"):
        site.get("/")
    assert not site.has_run


def test_user_and_access_method_decide(visit, user, thing, access_methods):
    perms = [USE_THING, "testapp.use_thing"]
    assert visit(user, perms, pk=thing.pk)
    user.is_active = False
    for denied in (user, AnonymousUser(), User.objects.create_user("other")):
        assert visit(denied, perms, pk=thing.pk) is None
    for method in (deny, adeny):
        access_methods(Thing, _user_can_use_thing=method)
        assert visit(User.objects.get(pk=user.pk), [USE_THING], pk=thing.pk) is None
    access_methods(Thing, _user_can_use_thing=lambda self, _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        visit(User.objects.get(pk=user.pk), [USE_THING], pk=thing.pk)


def test_first_denial_ends_the_checks(visit, user, thing, access_methods):
    asked = []
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, _: asked.append("use"),
        _user_can_change_thing=lambda self, _: asked.append("change") or True,
    )
    user = grant(user, "testapp.change_thing", "testapp.change_otherthing")
    perms = [CHANGE_THING, USE_THING, ("testapp.change_otherthing", "absent")]

    assert visit(user, perms, pk=thing.pk, absent=0) is None
    assert asked == ["change", "use"]


# Keys without an object

HOSTILE_KEYS = [
    *("x", "", " ", "None", "1.5", "1e3", "0x1", "-1", "1;", "1 OR 1=1", "1\0", "\0", "\ud800"),
    *("9" * 30, "9" * 5_000, "-" + "9" * 30, "٣x", "😀", "1a2b3c4d-0000-4000-8000-000000000000"),
    *(0, None, 2**63, float("nan"), float("inf")),
]
KEYS = {
    "testapp.use_thing": HOSTILE_KEYS,
    "testapp.change_document": HOSTILE_KEYS,
    "sessions.change_session": HOSTILE_KEYS,
    "testapp.change_compositething": [(1,), (1, 2, 3), ("x", 1), (1, 2), 1, "1", None],
}


@pytest.mark.parametrize("perm", KEYS)
def test_key_without_an_object_is_404(visit, superuser, perm):
    for key in KEYS[perm]:
        with pytest.raises(Http404):
            visit(superuser, [(perm, "pk")], pk=key)


# Names of permissions

UNKNOWN_NAMES = [
    *("", ".", "use_thing", "testapp.", ".use_thing", "testapp.use.thing", "nowhere.use_thing"),
    *("testapp.testapp.use_thing", "testapp.nothing", "testapp.USE_THING", "TESTAPP.use_thing"),
    *("testapp.use_thing ", " testapp.use_thing", "testapp.use_thìng", "testapp.use%"),
    *("testapp.use\0thing", "testapp.use\ud800thing"),
]


def test_name_that_does_not_exist_is_denied(visit, user, superuser, thing):
    for name, asking in itertools.product(UNKNOWN_NAMES, [user, superuser]):
        assert visit(asking, [(name, "pk")], pk=thing.pk) is None
        assert visit(asking, [name]) is None
        assert visit(asking, ["testapp.use_thing"])


def test_backend_that_grants_all(visit, settings, thing):
    settings.AUTHENTICATION_BACKENDS = ["tests.backends.Grants"]

    assert visit(AnonymousUser(), ["testapp.whatever", USE_THING], pk=thing.pk)
    for name in ("use_thing", ".use_thing", "testapp.", ".", ""):
        assert visit(AnonymousUser(), [name]) is None


def create_permission(model: str, codename: str) -> None:
    content_type, _ = ContentType.objects.get_or_create(app_label="testapp", model=model)
    Permission.objects.create(content_type=content_type, codename=codename, name=codename)


def test_permission_of_a_removed_model_is_denied(visit, superuser, thing):
    create_permission("gone", "use_gone")
    create_permission("gone", "use_thing")

    assert visit(superuser, [("testapp.use_gone", "pk")], pk=thing.pk) is None
    assert visit(superuser, [USE_THING], pk=thing.pk).kwargs == {"pk": thing}


# Mistakes

MISTAKES = [
    *(None, 1, b"testapp.use_thing", ["testapp.use_thing"], {"testapp.use_thing": "pk"}),
    *((), ("testapp.use_thing",), ("testapp.use_thing", "pk", "x"), (USE_THING, USE_THING)),
    *(("testapp.use_thing", None), ("testapp.use_thing", ""), (None, "pk")),
    *(("testapp.use_thing", "testapp.change_thing"), {"testapp.use_thing", "pk"}),
]


@pytest.mark.parametrize("perm", MISTAKES)
def test_neither_a_name_nor_a_pair_is_an_error(visit, superuser, thing, perm):
    with pytest.raises(ImproperlyConfigured, match="not a permission that a view can require"):
        visit(superuser, ["testapp.use_thing", perm], pk=thing.pk)


def test_nothing_required_is_refused(visit, superuser):
    with pytest.raises(ImproperlyConfigured):
        visit(superuser, [])


@pytest.mark.parametrize(
    ("perms", "message"),
    [
        ([("testapp.use_both", "pk")], r"testapp\.use_both .* more than one model"),
        ([("testapp.change_thing", "thing_pk")], "'thing_pk'"),
        ([CHANGE_THING, ("testapp.change_otherthing", "pk")], "already holds a Thing"),
        ([CHANGE_THING, ("testapp.change_specialthing", "pk")], "already holds a Thing"),
    ],
)
def test_objects_that_cannot_be_found(visit, superuser, perms, message):
    special = SpecialThing.objects.create()
    OtherThing.objects.create(pk=special.pk)
    create_permission("thing", "use_both")
    create_permission("otherthing", "use_both")

    with pytest.raises(ImproperlyConfigured, match=message):
        visit(superuser, perms, pk=special.pk)


def test_argument_that_already_holds_an_object(visit, user, superuser, access_methods):
    special = SpecialThing.objects.create()
    perms = [("testapp.change_specialthing", "pk"), USE_THING]
    assert type(visit(superuser, perms, pk=special.pk).kwargs["pk"]) is SpecialThing

    # That of a path converter, for example.
    access_methods(Thing, _user_can_use_thing=lambda self, _: self.name == "converted")
    converted = Thing(pk=7, name="converted")
    assert visit(user, [USE_THING], pk=converted).kwargs["pk"] is converted
    assert visit(user, [USE_THING], pk=Thing(pk=7)) is None


@pytest.mark.parametrize("kind", ["function", "class"])
def test_sync_view_needs_no_event_loop(settings, user, thing, access_methods, kind, monkeypatch):
    def fail(self, *_args, **_kwargs):
        raise AssertionError("an event loop is started")

    access_methods(Thing, _user_can_use_thing=deny, _group_can_use_thing=lambda *_: True)
    site = Site(settings, kind)
    site.require(USE_THING)
    monkeypatch.setattr(AsyncToSync, "__call__", fail)

    assert site.get(f"/{thing.pk}/", user).status_code == 200


# The decorator alone


def test_signed_in_user_is_redirected_or_gets_403(functions, user):
    functions.settings.LOGIN_URL = "sign-in"
    view = functions.view("testapp.change_thing")
    functions.settings.ROOT_URLCONF = (path("", view), path("in/", view, name="sign-in"))
    assert functions.get("/", user).url == "/in/?next=/"

    functions.settings.DJEM_DEFAULT_403 = True
    assert functions.get("/", user).status_code == 403
    assert not functions.has_run


@pytest.mark.parametrize("mode", MODES)
def test_decorated_view_keeps_its_name_and_mode(mode):
    view = function_view(mode, [])
    view.csrf_exempt = True
    decorated = permission_required("testapp.use_thing", login_url="/in/")(view)

    assert (decorated.__qualname__, decorated.__module__) == (view.__qualname__, view.__module__)
    assert decorated.csrf_exempt is True
    assert inspect.unwrap(decorated) is view
    assert inspect.iscoroutinefunction(decorated) is (mode == "async")
    # Django's LoginRequiredMiddleware reads these.
    assert (decorated.login_url, decorated.redirect_field_name) == ("/in/", "next")
    assert not hasattr(view, "login_url")


def test_marked_and_partial_views_are_wrapped_as_async(settings, user):
    site = Site(settings, client="async")
    native = function_view("async", site.runs)
    for view in (markcoroutinefunction(lambda request: native(request)), partial(native)):
        decorated = permission_required("testapp.use_thing")(view)
        site.serve(decorated)

        assert iscoroutinefunction(decorated)
        assert site.get("/", user).status_code == 200
        assert site.get("/").status_code == 302
    assert len(site.runs) == 2


def test_mistakes_are_found_at_definition():
    for perms in [(), (["testapp.use_thing", "testapp.change_thing"],), (function_view,)]:
        with pytest.raises(ImproperlyConfigured):
            permission_required(*perms)
    with pytest.raises(TypeError):
        permission_required("testapp.use_thing", perm="testapp.change_thing")


@pytest.mark.parametrize("granted", ["outer", "inner", "both"])
def test_stacked_decorators_must_all_grant(functions, user, thing, access_methods, granted):
    access_methods(Thing, _user_can_use_thing=lambda self, _: self.name == "a thing")
    outer = permission_required("testapp.change_thing" if granted == "inner" else USE_THING)
    inner = permission_required("testapp.change_thing" if granted == "outer" else USE_THING)
    view = outer(inner(function_view(functions.mode, functions.runs)))
    functions.serve(login_required(view, login_url="/first/"), "<int:pk>/")

    assert functions.get(f"/{thing.pk}/").url.startswith("/first/?")
    assert functions.get(f"/{thing.pk}/", user).status_code == (200 if granted == "both" else 302)
    assert [run.kwargs for run in functions.runs] == [{"pk": thing}] * (granted == "both")
