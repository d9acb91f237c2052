"""``Lookup``: how the decorator and the mixin find objects by other than their primary keys."""

import dataclasses

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import Http404
from django.test.utils import CaptureQueriesContext

from djem_async.auth import Lookup

from .conftest import allow, deny, grant
from .testapp.models import CompositeThing, Memo, OtherThing, Page, PageProxy, Thing, User
from .testapp.views import KINDS, Site

BY_NAME = Lookup(Thing, "thing", name="name")
READ = "testapp.read_page"


@pytest.fixture(params=KINDS, ids="-".join)
def visit(request, settings, db):
    """Call a view: it returns the arguments that it ran with, None if the user was denied."""
    site = Site(settings, *request.param)

    def call(user, *perms, **view_kwargs):
        run = site.run_of(user, perms, **view_kwargs)
        return run and run.kwargs

    return call


@pytest.fixture
def pages(db):
    """Pages of the same title, each with another parent."""
    parents = [Page.objects.create(title=title) for title in ("first", "second")]
    return {each.title: Page.objects.create(title="page", parent=each) for each in parents}


def test_object_is_found_by_several_arguments_and_replaces_them(visit, user, pages, access_methods):
    access_methods(Page, _user_can_read_page=lambda self, _: self.parent.title == "second")
    user = grant(user, READ)
    lookup = Lookup(
        Page.objects.select_related("parent"), "page", title="title", parent__title="parent"
    )

    found = visit(user, (READ, lookup), title="page", parent="second", number=2)

    assert found == {"page": pages["second"], "number": 2}
    assert "parent" in found["page"]._state.fields_cache
    assert visit(user, (READ, lookup), title="page", parent="first") is None
    with pytest.raises(Http404):
        visit(user, (READ, lookup), title="page", parent="third")
    with pytest.raises(Page.MultipleObjectsReturned):
        visit(user, (READ, Lookup(Page, "page", title="title")), title="page")


def test_object_may_take_the_name_of_an_argument_that_found_it(visit, user, thing):
    lookup = Lookup(Thing, "name", name="name", pk="pk")
    found = visit(user, ("testapp.use_thing", lookup), name="a thing", pk=str(thing.pk))
    assert found == {"name": thing}


@pytest.mark.django_db(databases=["default", "other"])
def test_class_is_a_model_a_manager_or_a_queryset(visit, user, access_methods):
    access_methods(Memo, _user_can_read_memo=allow)
    user = grant(user, "testapp.read_memo", "testapp.use_thing", "testapp.change_compositething")
    hidden = Memo.objects.create(text="m", is_hidden=True)
    shown = Memo.everything.filter(is_hidden=False)
    perm = "testapp.read_memo"

    assert visit(user, (perm, Lookup(Memo.everything, "memo", text="text")), text="m")
    for klass in (Memo, Memo.objects, shown):
        with pytest.raises(Http404):
            visit(user, (perm, Lookup(klass, "memo", text="text")), text="m")
    # It is asked anew for each request.
    Memo.everything.filter(pk=hidden.pk).update(is_hidden=False)
    assert visit(user, (perm, Lookup(shown, "memo", text="text")), text="m") == {"memo": hidden}

    elsewhere = Thing.objects.using("other").create(name="there")
    lookup = Lookup(Thing.objects.using("other"), "thing", name="name")
    found = visit(user, ("testapp.use_thing", lookup), name="there")["thing"]
    assert (found, found._state.db) == (elsewhere, "other")

    composite = CompositeThing.objects.create(tenant=1, number=2)
    lookup = Lookup(CompositeThing, "thing", tenant="a", number="b")
    perm = "testapp.change_compositething"
    assert visit(user, (perm, lookup), a="1", b="2") == {"thing": composite}


def test_parent_decides_about_a_permission_of_its_children(visit, user, thing, access_methods):
    perm = "testapp.add_otherthing"
    lookup = Lookup(Thing, "parent", pk="parent")
    user = grant(user, perm)
    OtherThing.objects.create(pk=thing.pk)
    access_methods(Thing, _user_can_add_otherthing=lambda self, _: self.name == "a thing")

    for klass in (Thing, Thing.objects, Thing.objects.all()):
        lookup = Lookup(klass, "parent", pk="parent")
        assert visit(user, (perm, lookup), parent=thing.pk) == {"parent": thing}
    Thing.objects.update(name="another")
    assert visit(User.objects.get(pk=user.pk), (perm, lookup), parent=thing.pk) is None


def test_pair_in_place_of_a_lookup_in_the_parent_is_an_error(visit, user, thing, access_methods):
    perm, pair = "testapp.add_otherthing", ("testapp.add_otherthing", "parent")
    user = grant(user, perm)
    other = OtherThing.objects.create(pk=thing.pk)
    assert visit(user, pair, parent=thing.pk) == {"parent": other}

    # Its proxy and its child have the method as well.
    access_methods(Thing, _user_can_add_otherthing=allow)
    with pytest.raises(ImproperlyConfigured, match=r"Lookup\(Thing, 'parent', pk='parent'\)"):
        visit(user, pair, parent=thing.pk)
    # More than one, or its own: it is not plain what is meant.
    access_methods(OtherThing, _user_can_add_otherthing=deny)
    assert visit(User.objects.get(pk=user.pk), pair, parent=thing.pk) is None
    access_methods(Thing, _user_can_change_page=deny)
    access_methods(Memo, _user_can_change_page=deny)
    user, page = grant(user, "testapp.change_page"), Page.objects.create()
    assert visit(user, ("testapp.change_page", "x"), x=page.pk) == {"x": page}


def test_equal_lookups_fetch_once_and_every_check_reads_the_url(visit, user, thing, access_methods):
    checked = []
    method = lambda self, _: checked.append(self) or True  # noqa: E731
    access_methods(Thing, _user_can_use_thing=method, _user_can_change_thing=method)
    user = grant(user, "testapp.change_thing", "testapp.view_thing")
    user.has_perm("testapp.use_thing")
    same = Lookup(Thing, "thing", name="name")
    perms = [("testapp.use_thing", BY_NAME), ("testapp.change_thing", same)]

    with CaptureQueriesContext(connection) as queries:
        assert visit(user, *perms, name="a thing") == {"thing": thing}
    assert len(queries) == 1
    assert checked[0] is checked[1]

    again = Lookup(Thing, "again", name="name")
    found = visit(
        user,
        *perms,
        ("testapp.view_thing", again),
        ("testapp.use_thing", "pk"),
        ("testapp.use_thing", Lookup(Thing, "by_key", pk="pk")),
        name="a thing",
        pk=thing.pk,
    )
    assert found == dict.fromkeys(["thing", "again", "pk", "by_key"], thing)


INVALID = {
    "name": ["\0", "a\0thing", "\ud800", None, ("\0",)],
    "pk": ["x", "", "1.5", "9" * 5_000, None, "\0", float("nan"), float("inf"), [], {}, object()],
    "owner__date_joined__lt": ["yesterday", "2020-13-01", 7.5j, None],
    "owner": [None, "x"],
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_value_is_404(visit, superuser, thing, name):
    lookup = Lookup(Thing, "thing", **{name: "value"})
    for value in INVALID[name]:
        with pytest.raises(Http404):
            visit(superuser, ("testapp.use_thing", lookup), value=value)


MISTAKES = [
    ([("testapp.use_thing", BY_NAME)], {"title": "x"}, "'name'.*passes no keyword argument"),
    ([("testapp.use_thing", BY_NAME)], {"name": "a thing", "thing": 1}, "another argument"),
    (
        [("testapp.use_thing", BY_NAME), ("testapp.use_thing", Lookup(Thing, "thing", pk="pk"))],
        {"name": "a thing", "pk": 1},
        "two different objects",
    ),
    (
        [("testapp.use_thing", "pk"), ("testapp.use_thing", Lookup(Thing, "pk", pk="pk"))],
        {"pk": 1},
        "two different objects",
    ),
    # Managers of two models are equal to each other.
    (
        [
            ("testapp.use_thing", Lookup(Thing.objects, "pk", pk="pk")),
            ("testapp.change_otherthing", Lookup(OtherThing.objects, "pk", pk="pk")),
        ],
        {"pk": 1},
        "two different objects",
    ),
    ([("testapp.use_thing", Lookup(Thing.objects.values(), "x", pk="x"))], {"x": 1}, "values"),
]


@pytest.mark.parametrize(("perms", "view_kwargs", "message"), MISTAKES)
def test_mistakes_are_errors(visit, superuser, perms, view_kwargs, message):
    Thing.objects.create(pk=1)
    with pytest.raises(ImproperlyConfigured, match=message):
        visit(superuser, *perms, **view_kwargs)


def test_mistakes_in_a_lookup_are_found_at_once():
    for klass in (None, "testapp.Thing", object, Thing(), [Thing], Thing.objects.all()[:1]):
        with pytest.raises(ImproperlyConfigured):
            Lookup(klass, "thing", pk="pk")
    for into, lookups in [("", {"pk": "pk"}), (None, {"pk": "pk"}), ("x", {}), ("x", {"pk": 1})]:
        with pytest.raises(ImproperlyConfigured, match="has to name"):
            Lookup(Thing, into, **lookups)


def test_lookup_is_an_immutable_value():
    lookups = {BY_NAME, Lookup(Thing, "thing", name="name"), Lookup(Thing, "other", name="name")}
    assert len(lookups) == 2
    assert Lookup(Thing, "x", pk="a", name="b") == Lookup(Thing, "x", name="b", pk="a")
    assert Lookup(Thing, "x", pk="a") != Lookup(Thing.objects, "x", pk="a") != "x"
    assert repr(Lookup(Thing.objects.all(), "x", pk="a")) == "Lookup(Thing, 'x', pk='a')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        BY_NAME.into = "other"


# The model of a permission


def test_model_of_a_permission_is_not_asked_of_the_database(visit, superuser, thing):
    with CaptureQueriesContext(connection) as queries:
        for _ in range(2):
            assert visit(superuser, ("testapp.use_thing", "pk"), pk=thing.pk)
            assert visit(superuser, "testapp.use_thing") == {}
    assert len(queries) == 2  # the thing


def test_permission_that_no_model_declares_is_found_as_it_is_stored(visit, superuser):
    page, thing = PageProxy.objects.create(), Thing.objects.create()
    of_pages = ContentType.objects.get_for_model(PageProxy, for_concrete_model=False)
    assert visit(superuser, ("testapp.made", "pk"), pk=page.pk) is None
    made = Permission.objects.create(content_type=of_pages, codename="made", name="made")
    assert type(visit(superuser, ("testapp.made", "pk"), pk=page.pk)["pk"]) is PageProxy
    made.content_type = ContentType.objects.get_for_model(Thing)
    made.save()
    assert visit(superuser, ("testapp.made", "pk"), pk=thing.pk) == {"pk": thing}
    made.delete()
    assert visit(superuser, ("testapp.made", "pk"), pk=thing.pk) is None
    assert visit(superuser, "testapp.made", pk=thing.pk) is None


def test_object_that_another_decorator_has_passed_is_checked_and_no_value(visit, user, thing):
    lookup = Lookup(Thing, "name", name="name")
    # Its text is the name of another thing.
    other = Thing.objects.create(name=str(thing))
    assert visit(user, ("testapp.use_thing", lookup), name=other) == {"name": other}
    with pytest.raises(ImproperlyConfigured, match="already holds a Thing"):
        visit(user, ("testapp.use_thing", BY_NAME), name=other)
