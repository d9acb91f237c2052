"""What the decorator and the mixin have in common, for sync and async views and clients."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from asgiref.sync import AsyncToSync, async_to_sync
from django.contrib.auth.models import AnonymousUser, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.exceptions import (
    ImproperlyConfigured,
    PermissionDenied,
    SynchronousOnlyOperation,
)
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from django.urls import register_converter
from django.urls.converters import get_converters
from django.utils.functional import SimpleLazyObject

from djem_async._driving import arun, run
from djem_async.auth._views import _is_storable, authorize, validated
from djem_async.auth.backends import ObjectPermissionsBackend
from djem_async.exceptions import NotADecisionError

from .conftest import grant
from .testapp.models import Document, OtherThing, SpecialThing, Thing, ThingProxy, User
from .testapp.views import USE_THING, Site

KINDS = list(itertools.product(["function", "class"], ["sync", "async"], ["sync", "async"]))


@pytest.fixture(params=KINDS, ids="-".join)
def site(request, settings, db):
    """A site that requires permissions in each of the possible ways."""
    return Site(settings, *request.param)


@pytest.fixture(params=["sync", "async"])
def decide(request):
    """The check of a view, run in each form: ``decide(user, perms, view_kwargs)``."""

    async def aauthorize(*args: Any) -> bool:
        return await arun(authorize(*args))

    def sync_authorize(*args: Any) -> bool:
        return run(authorize(*args))

    return sync_authorize if request.param == "sync" else async_to_sync(aauthorize)


@pytest.fixture
def superuser(db):
    return User.objects.create_superuser("super")


def deny(*_args):
    return False


def allow(*_args):
    return True


# Granted


def test_a_view_runs_for_a_user_with_the_permission(site, user):
    site.require("testapp.use_thing", route="")

    response = site.get("/", user)

    assert (response.status_code, response.content) == (200, b"ran")
    assert len(site.runs) == 1


def test_the_object_that_was_checked_replaces_its_primary_key(site, user, thing, access_methods):
    checked = []
    access_methods(Thing, _user_can_use_thing=lambda self, _: checked.append(self) or True)
    site.require(USE_THING)

    assert site.get(f"/{thing.pk}/", user).status_code == 200

    assert site.runs[0].kwargs["pk"] is checked[0]
    assert checked == [thing]


def test_names_and_pairs_mix(site, user, thing):
    user = grant(user, "testapp.view_product")
    site.require("testapp.view_product", USE_THING, "testapp.use_thing")

    assert site.get(f"/{thing.pk}/", user).status_code == 200
    assert site.runs[0].kwargs == {"pk": thing}


def test_objects_of_two_models_are_checked_by_one_view(site, user, thing, access_methods):
    user = grant(user, "testapp.change_otherthing")
    other = OtherThing.objects.create()
    access_methods(OtherThing, _user_can_change_otherthing=lambda self, _: self.name == "other")
    site.require(USE_THING, ("testapp.change_otherthing", "other"), route="<str:pk>/<str:other>/")

    assert site.get(f"/{thing.pk}/{other.pk}/", user).status_code == 200
    assert site.runs[0].kwargs == {"pk": thing, "other": other}


def test_a_key_is_matched_as_a_whole(site, user):
    Thing.objects.bulk_create([Thing(pk=1), Thing(pk=12)])
    site.require(USE_THING)

    assert site.get("/12/", user).status_code == 200
    assert site.runs[0].kwargs["pk"].pk == 12


def test_arguments_that_no_permission_names_are_left_alone(site, user, thing):
    site.require(USE_THING, route="<str:pk>/<int:page>/<slug:word>/")

    site.get(f"/{thing.pk}/3/x/", user)

    assert site.runs[0].kwargs == {"pk": thing, "page": 3, "word": "x"}


def test_a_text_primary_key_finds_its_object(site, superuser):
    Session.objects.create(session_key="a.b~ c", session_data="", expire_date="2100-01-01T00:00Z")
    site.require(("sessions.change_session", "key"), route="<str:key>/")

    assert site.get("/a.b~%20c/", superuser).status_code == 200
    assert site.runs[0].kwargs["key"].pk == "a.b~ c"


def test_a_uuid_primary_key_finds_its_object(site, superuser):
    document = Document.objects.create()
    site.require(("testapp.change_document", "pk"))

    assert site.get(f"/{document.pk}/", superuser).status_code == 200
    assert site.runs[0].kwargs == {"pk": document}


def test_an_object_of_the_proxy_is_found_by_the_permission_of_the_proxy(site, superuser, thing):
    site.require(("testapp.change_thingproxy", "pk"))

    assert site.get(f"/{thing.pk}/", superuser).status_code == 200
    assert type(site.runs[0].kwargs["pk"]) is ThingProxy


# Denied


@pytest.mark.parametrize("raise_exception", [True, False])
def test_nothing_runs_for_an_anonymous_user(site, raise_exception):
    site.require("testapp.use_thing", route="", raise_exception=raise_exception)

    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE", "QUIZ"):
        response = site.get("/", method=method)

        assert response.status_code == (403 if raise_exception else 302)
        assert "Allow" not in response.headers
    assert not site.has_run


def test_an_anonymous_user_is_sent_to_the_login_page_and_back(site):
    site.require("testapp.use_thing", route="")

    response = site.get("/?page=2")

    assert (response.status_code, response.url) == (302, "/login/?next=/%3Fpage%3D2")


def test_login_url_replaces_the_setting(site):
    site.require("testapp.use_thing", route="", login_url="/in/")

    assert site.get("/").url == "/in/?next=/"


@pytest.mark.parametrize(
    ("login_url", "next_url"),
    [
        ("http://testserver/in/", "/"),
        ("//testserver/in/", "/"),
        ("https://testserver/in/", "http%3A//testserver/"),
        ("http://id.example/in/", "http%3A//testserver/"),
        ("http://id.example/in/?tenant=1", "http%3A//testserver/"),
    ],
)
def test_the_login_page_of_another_host_gets_the_whole_url(site, login_url, next_url):
    site.require("testapp.use_thing", route="", login_url=login_url)

    url = site.get("/").url

    assert url.startswith(login_url)
    assert url.endswith(f"next={next_url}")


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("raise_exception", [True, False])
def test_raise_exception_takes_precedence_over_the_setting(site, default, raise_exception):
    site.settings.DJEM_DEFAULT_403 = default
    site.require("testapp.use_thing", route="", raise_exception=raise_exception)

    assert site.get("/").status_code == (403 if raise_exception else 302)


def test_the_setting_is_read_when_the_view_runs(site):
    site.require("testapp.use_thing", route="")

    for default, status_code in [(False, 302), (True, 403), (False, 302)]:
        site.settings.DJEM_DEFAULT_403 = default
        assert site.get("/").status_code == status_code

    del site.settings.DJEM_DEFAULT_403
    assert site.get("/").status_code == 302


@pytest.mark.parametrize("value", ["False", 1, None, "yes"])
def test_an_invalid_setting_is_an_error_and_not_a_choice(site, value):
    site.settings.DJEM_DEFAULT_403 = value
    site.require("testapp.use_thing", route="")

    with pytest.raises(ImproperlyConfigured, match="DJEM_DEFAULT_403"):
        site.get("/")
    assert not site.has_run


def test_the_object_can_deny(site, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=deny)
    site.require(USE_THING, raise_exception=True)

    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert not site.has_run


@pytest.mark.parametrize("is_universal", [True, False])
def test_a_superuser_is_denied_by_the_object_under_universal_olp(
    site, superuser, thing, access_methods, is_universal
):
    access_methods(Thing, _user_can_use_thing=deny)
    site.settings.DJEM_UNIVERSAL_OLP = is_universal
    site.require(USE_THING, raise_exception=True)

    assert site.get(f"/{thing.pk}/", superuser).status_code == (403 if is_universal else 200)
    assert site.has_run is not is_universal


def test_an_async_access_method_can_deny(site, user, thing, access_methods):
    async def adeny(self, _user):
        return False

    access_methods(Thing, _auser_can_use_thing=adeny)
    site.require(USE_THING, raise_exception=True)

    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert not site.has_run


def test_permission_denied_in_an_access_method_denies(site, user, thing, access_methods):
    def refuse(self, _user):
        raise PermissionDenied

    access_methods(Thing, _user_can_use_thing=refuse)
    site.require(USE_THING, raise_exception=True)

    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert not site.has_run


def test_an_exception_in_an_access_method_propagates(site, user, thing, access_methods):
    def fail(self, _user):
        raise ZeroDivisionError

    access_methods(Thing, _user_can_use_thing=fail)
    site.require(USE_THING)

    with pytest.raises(ZeroDivisionError):
        site.get(f"/{thing.pk}/", user)
    assert not site.has_run


def test_an_inactive_user_is_nobody(site, user, thing):
    site.require(USE_THING, raise_exception=True)
    user.is_active = False
    user.save()

    assert site.get(f"/{thing.pk}/", user).status_code == 403


def test_all_permissions_must_be_granted(site, user, thing):
    site.require(USE_THING, "testapp.change_thing", raise_exception=True)

    assert site.get(f"/{thing.pk}/", user).status_code == 403
    assert not site.has_run


def test_permissions_are_asked_in_order_and_the_first_denial_stops(
    site, user, thing, access_methods
):
    asked = []
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, _: asked.append("use"),  # and so denies
        _user_can_change_thing=lambda self, _: asked.append("change") or True,
    )
    user = grant(user, "testapp.change_thing", "testapp.change_otherthing")
    site.require(
        ("testapp.change_thing", "pk"),
        USE_THING,
        ("testapp.change_otherthing", "absent"),
        raise_exception=True,
        route="<str:pk>/<str:absent>/",
    )

    assert site.get(f"/{thing.pk}/0/", user).status_code == 403  # and no 404
    assert asked == ["change", "use"]


# What is asked for does not exist


@pytest.mark.parametrize("user_name", ["user", "superuser"])
def test_an_absent_object_is_not_found(site, request, user_name):
    site.require(USE_THING)

    assert site.get("/1/", request.getfixturevalue(user_name)).status_code == 404
    assert not site.has_run


HOSTILE_KEYS = [
    "x",
    "",
    " ",
    "None",
    "1.5",
    "1e3",
    "0x1",
    "-1",
    "1;",
    "1 OR 1=1",
    "9" * 30,
    "9" * 5_000,
    "-" + "9" * 30,
    "1\0",
    "\0",
    "\ud800",
    "😀",
    "٣x",
    "1a2b3c4d-0000-4000-8000-000000000000",
    None,
    2**63,
    float("nan"),
    float("inf"),
]


@pytest.mark.parametrize("character", [0, 0xD800, 0xDABC, 0xDFFF], ids=hex)
def test_what_no_database_can_have_is_not_asked_for(decide, superuser, character):
    assert not _is_storable(f"a{chr(character)}b")
    perm = f"testapp.use{chr(character)}thing"
    assert decide(superuser, [perm], {}) is False
    assert decide(superuser, [(perm, "pk")], {"pk": 1}) is False


@pytest.mark.parametrize("character", [0, 0xD800], ids=hex)
def test_no_object_is_asked_for_by_what_no_database_can_have(
    decide, superuser, character, django_assert_num_queries
):
    with django_assert_num_queries(1), pytest.raises(Http404):  # of the permission
        decide(superuser, [("sessions.change_session", "pk")], {"pk": chr(character)})


@pytest.mark.parametrize("character", [1, 0x20, 0xD7FF, 0xE000, 0x10FFFF], ids=hex)
def test_everything_else_can_be_asked_for(character):
    assert _is_storable(f"a{chr(character)}b")


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=lambda key: ascii(key)[:12])
@pytest.mark.parametrize(
    "perm",
    ["testapp.use_thing", "testapp.change_document", "sessions.change_session"],
    ids=["integer", "uuid", "text"],
)
def test_a_malformed_primary_key_is_not_found(decide, superuser, perm, key):
    with pytest.raises(Http404):
        decide(superuser, [(perm, "pk")], {"pk": key})


@pytest.mark.parametrize("key", ["x", "%00", "%FF", "9" * 40, "1%C0%80", "%ED%A0%80"])
def test_a_malformed_primary_key_in_a_url_is_not_found(site, superuser, key):
    for perm in ("testapp.use_thing", "testapp.change_document", "sessions.change_session"):
        site.require((perm, "pk"))
        assert site.get(f"/{key}/", superuser).status_code == 404
    assert not site.has_run


@pytest.mark.parametrize("key", [(1,), (1, 2, 3), ("x", 1), 1, "1", None])
def test_a_malformed_composite_primary_key_is_not_found(decide, superuser, key):
    with pytest.raises(Http404):
        decide(superuser, [("testapp.change_compositething", "pk")], {"pk": key})


UNKNOWN_NAMES = [
    "use_thing",
    "testapp.",
    ".use_thing",
    ".",
    "",
    "testapp.use.thing",
    "testapp.testapp.use_thing",
    "nowhere.use_thing",
    "testapp.nothing",
    "testapp.USE_THING",
    "TESTAPP.use_thing",
    "testapp.use_thing ",
    " testapp.use_thing",
    "testapp.use_thìng",
    "testapp.use%",
]


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
@pytest.mark.parametrize("user_name", ["user", "superuser"])
def test_an_unknown_or_malformed_name_in_a_pair_is_denied(decide, request, thing, user_name, name):
    user, kwargs = request.getfixturevalue(user_name), {"pk": thing.pk}

    assert decide(user, [(name, "pk")], kwargs) is False
    assert kwargs == {"pk": thing.pk}


@pytest.mark.parametrize("name", ["use_thing", "", "pk"])
def test_a_name_without_an_app_is_denied_to_everybody(decide, superuser, name):
    assert decide(superuser, [name], {}) is False


class GrantsAll:
    def has_perm(self, user_obj, perm, obj=None):
        return True


@pytest.mark.parametrize("name", ["use_thing", ".use_thing", "testapp.", ".", ""])
def test_a_name_without_an_app_is_denied_whatever_the_backends_say(decide, user, settings, name):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.GrantsAll"]
    assert decide(user, ["testapp.whatever"], {}) is True
    assert decide(user, [name], {}) is False


def test_the_permission_of_an_object_is_looked_up_once(
    decide, superuser, thing, django_assert_num_queries
):
    with django_assert_num_queries(2):  # and the object
        assert decide(superuser, [USE_THING], {"pk": thing.pk}) is True


def test_a_pair_outside_of_a_sequence_does_not_grant(site, superuser, thing, access_methods):
    """Two names, the second of which is none: not a check of the model level."""
    access_methods(Thing, _user_can_use_thing=deny)
    site.settings.DJEM_UNIVERSAL_OLP = True
    site.require("testapp.use_thing", "pk", raise_exception=True)

    assert site.get(f"/{thing.pk}/", superuser).status_code == 403
    assert not site.has_run


def _permission(model: str, codename: str) -> Permission:
    content_type, _ = ContentType.objects.get_or_create(app_label="testapp", model=model)
    return Permission.objects.create(content_type=content_type, codename=codename, name=codename)


def test_the_permission_of_a_model_that_is_gone_is_denied(decide, superuser, thing):
    _permission("gone", "use_gone")

    assert decide(superuser, [("testapp.use_gone", "pk")], {"pk": thing.pk}) is False


def test_the_permission_of_a_model_that_is_gone_does_not_count(decide, superuser, thing):
    _permission("gone", "use_thing")
    kwargs = {"pk": thing.pk}

    assert decide(superuser, [USE_THING], kwargs) is True
    assert kwargs == {"pk": thing}


def test_a_permission_of_two_models_cannot_find_an_object(decide, superuser, thing):
    _permission("otherthing", "use_thing")

    with pytest.raises(ImproperlyConfigured, match=r"testapp\.use_thing .* more than one model"):
        decide(superuser, [USE_THING], {"pk": thing.pk})


def test_a_missing_view_argument_is_an_error(site, superuser, thing):
    site.require(("testapp.use_thing", "thing_pk"))

    with pytest.raises(ImproperlyConfigured, match="'thing_pk'"):
        site.get(f"/{thing.pk}/", superuser)
    assert not site.has_run


# One view argument for several permissions


def test_one_object_is_fetched_once_for_all_its_permissions(site, user, thing, access_methods):
    checked = []
    access_methods(
        Thing,
        _user_can_use_thing=lambda self, _: checked.append(self) or True,
        _user_can_change_thing=lambda self, _: checked.append(self) or True,
    )
    site.require(USE_THING, ("testapp.change_thing", "pk"))

    assert site.get(f"/{thing.pk}/", grant(user, "testapp.change_thing")).status_code == 200

    assert len(checked) == 2
    assert checked[0] is checked[1] is site.runs[0].kwargs["pk"]


def test_an_argument_cannot_name_objects_of_two_models(site, superuser, thing):
    OtherThing.objects.create(pk=thing.pk)
    site.require(USE_THING, ("testapp.change_otherthing", "pk"))

    with pytest.raises(ImproperlyConfigured, match="already holds a Thing"):
        site.get(f"/{thing.pk}/", superuser)
    assert not site.has_run


def test_a_child_serves_for_the_permission_of_its_parent(decide, superuser):
    special, kwargs = SpecialThing.objects.create(), {}
    kwargs["pk"] = special.pk

    assert decide(superuser, [("testapp.change_specialthing", "pk"), USE_THING], kwargs)
    assert type(kwargs["pk"]) is SpecialThing


def test_a_parent_does_not_serve_for_the_permission_of_its_child(decide, superuser):
    special = SpecialThing.objects.create()

    perms = [USE_THING, ("testapp.change_specialthing", "pk")]

    with pytest.raises(ImproperlyConfigured, match="cannot also name a SpecialThing"):
        decide(superuser, perms, {"pk": special.pk})


class ThingConverter:
    """A path converter that fetches the object itself."""

    regex = "[0-9]+"

    def to_python(self, value):
        return Thing(pk=int(value), name="converted")

    def to_url(self, value):  # pragma: no cover - part of the protocol
        return str(value.pk)


@pytest.fixture
def thing_converter():
    if "thing" not in get_converters():
        register_converter(ThingConverter, "thing")


def test_an_object_that_is_there_already_is_checked_as_it_is(
    site, user, access_methods, thing_converter
):
    access_methods(Thing, _user_can_use_thing=lambda self, _: self.name == "converted")
    site.require(USE_THING, route="<thing:pk>/")

    assert site.get("/7/", user).status_code == 200
    assert site.runs[0].kwargs["pk"].name == "converted"


# What the form of the requirement may be


@pytest.mark.parametrize(
    "perm",
    [
        None,
        1,
        b"testapp.use_thing",
        (),
        ("testapp.use_thing",),
        ("testapp.use_thing", "pk", "x"),
        ("testapp.use_thing", None),
        ("testapp.use_thing", ""),
        (None, "pk"),
        ("testapp.use_thing", "testapp.change_thing"),
        ("testapp.use_thing", "not an identifier"),
        ["testapp.use_thing"],
        {"testapp.use_thing": "pk"},
        {"testapp.use_thing", "pk"},
        (("testapp.use_thing", "pk"), ("testapp.use_thing", "pk")),
    ],
)
def test_what_is_neither_a_name_nor_a_pair_is_refused(perm):
    with pytest.raises(ImproperlyConfigured, match="is not a permission that a view can require"):
        validated(["testapp.use_thing", perm])


def test_nothing_required_is_refused():
    with pytest.raises(ImproperlyConfigured, match="Name at least one"):
        validated([])


@pytest.mark.parametrize("perms", ["testapp.use_thing", {"testapp.use_thing": "pk"}])
def test_a_string_or_a_mapping_is_not_a_sequence_of_permissions(perms):
    with pytest.raises(ImproperlyConfigured):
        validated(perms)


@pytest.mark.parametrize("pair", [("a.b", "pk"), ["a.b", "pk"]])
def test_names_and_pairs_are_accepted_from_any_iterable(pair):
    assert validated(iter(["a.c", pair])) == ("a.c", ("a.b", "pk"))


# Whom is asked, and how


class Asked:
    """Some user whose answer is given, not one of Django's."""

    is_active = True
    is_anonymous = False

    def __init__(self, answer):
        self.answer = answer

    def has_perm(self, perm, obj=None):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "decision"), [(1, True), ("x", True), (0, False), (None, False)]
)
def test_the_decision_is_the_truth_of_the_answer(decide, answer, decision):
    assert decide(Asked(answer), ["testapp.use_thing"], {}) is decision


@pytest.mark.parametrize("answer", [allow, (x for x in "x")], ids=["function", "generator"])
def test_what_cannot_be_an_answer_is_refused(decide, answer):
    with pytest.raises(NotADecisionError):
        decide(Asked(answer), ["testapp.use_thing"], {})


@pytest.mark.parametrize("answer", [True, False])
def test_an_async_answer_is_awaited(decide, answer):
    class AsyncAsked(Asked):
        async def has_perm(self, perm, obj=None):
            return self.answer

    assert decide(AsyncAsked(answer), ["testapp.use_thing"], {}) is answer


@pytest.mark.parametrize("answer", [True, False])
def test_an_override_of_has_perm_alone_counts_in_both_forms(decide, access_methods, answer):
    access_methods(User, has_perm=lambda *_: answer)

    assert decide(User(), ["testapp.use_thing"], {}) is answer


@pytest.mark.parametrize("is_lazy", [True, False])
def test_an_override_of_ahas_perm_alone_counts_in_both_forms(decide, access_methods, is_lazy):
    async def refuse(self, perm, obj=None):
        return False

    user = User(is_superuser=True)
    access_methods(User, ahas_perm=refuse)

    asked = SimpleLazyObject(lambda: user) if is_lazy else user
    assert decide(asked, ["testapp.use_thing"], {}) is False


def test_a_user_that_knows_no_permissions_is_an_error(decide):
    with pytest.raises((AttributeError, TypeError), match="has_perm"):
        decide(object(), ["testapp.use_thing"], {})


def test_permission_denied_by_the_user_model_is_no_grant(decide):
    class Refusing(Asked):
        def has_perm(self, perm, obj=None):
            raise PermissionDenied("not you")

    with pytest.raises(PermissionDenied, match="not you"):
        decide(Refusing(True), ["testapp.use_thing"], {})


def test_an_anonymous_user_can_be_granted_by_another_backend(decide, settings, thing):
    settings.AUTHENTICATION_BACKENDS = [
        *settings.AUTHENTICATION_BACKENDS,
        f"{__name__}.OpenToAll",
    ]

    assert decide(AnonymousUser(), ["testapp.use_thing", USE_THING], {"pk": thing.pk})


class OpenToAll(ObjectPermissionsBackend):
    def has_perm(self, user_obj, perm, obj=None):
        return True


def test_the_reason_of_a_denial_is_in_the_log_of_the_user(settings, user, thing, access_methods):
    def explain(self, user):
        user.log("Not today")

    def tell(self):
        return HttpResponse(self.request.user.get_last_log())

    async def atell(self):
        return HttpResponse((await self.request.auser()).get_last_log())

    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, _user_can_use_thing=explain)
    for mode, client in itertools.product(("sync", "async"), repeat=2):
        site = Site(settings, "class", mode, client)
        site.require(USE_THING, handle_no_permission=tell if mode == "sync" else atell)

        assert b"Not today\n\nRESULT: Permission Denied" in site.get(f"/{thing.pk}/", user).content


# Sync and async stay apart


def test_an_async_view_never_loads_request_user(settings, user, thing):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.forbid_request_user"]
    for kind in ("function", "class"):
        site = Site(settings, kind, "async", "async")
        site.require(USE_THING)

        assert site.get(f"/{thing.pk}/", user).status_code == 200
        assert site.has_run


def test_an_async_function_is_denied_without_request_user(settings, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=deny)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.forbid_request_user"]
    site = Site(settings, "function", "async", "async")
    for raise_exception, status_code in [(True, 403), (False, 302)]:
        site.require(USE_THING, raise_exception=raise_exception)

        assert site.get(f"/{thing.pk}/", user).status_code == status_code
    assert not site.has_run


class _Forbidden:
    def __getattribute__(self, name):
        raise AssertionError(f"request.user.{name} is used")


def forbid_request_user(get_response):
    def middleware(request):
        request.user = _Forbidden()
        return get_response(request)

    return middleware


@pytest.mark.parametrize("kind", ["function", "class"])
def test_a_sync_view_needs_no_event_loop(settings, user, thing, access_methods, kind, monkeypatch):
    def fail(self, *_args, **_kwargs):
        raise AssertionError("an event loop is started")

    access_methods(Thing, _user_can_use_thing=allow, _group_can_use_thing=allow)
    site = Site(settings, kind)
    site.require(USE_THING)
    monkeypatch.setattr(AsyncToSync, "__call__", fail)

    assert site.get(f"/{thing.pk}/", user).status_code == 200


@pytest.mark.parametrize("kind", ["function", "class"])
def test_a_sync_view_called_on_an_event_loop_is_an_error(settings, user, thing, kind):
    site = Site(settings, kind)
    view = site.view(USE_THING)
    request = RequestFactory().get("/")
    request.user = user

    async def call():
        return view(request, pk=thing.pk)

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(call)()
    assert not site.has_run


def test_a_view_makes_no_more_queries_than_it_needs(decide, user, thing, django_assert_num_queries):
    kwargs = {"pk": thing.pk}
    with django_assert_num_queries(3):  # the permission, the object; the user's permissions
        assert decide(user, [USE_THING], kwargs)
    with django_assert_num_queries(1):  # the permission, for its model
        assert decide(user, [USE_THING], kwargs)


@pytest.mark.parametrize(
    "name", ["testapp.no_thing", "nowhere.use_thing", "testapp.", ".use_thing"]
)
def test_a_superuser_is_denied_what_does_not_exist(decide, superuser, name):
    assert decide(superuser, [name], {}) is False
    assert decide(superuser, ["testapp.use_thing"], {}) is True
