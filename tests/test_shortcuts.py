"""Lists and single objects for a user, against checks of one object after the other."""

import itertools
import threading
from collections.abc import Callable
from types import DynamicClassAttribute
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, SynchronousOnlyOperation
from django.db import NotSupportedError
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.http import Http404
from django.utils.functional import SimpleLazyObject

from djem_async import shortcuts
from djem_async.exceptions import NoQueryFormError, NotADecisionError, PermissionRecursionError
from djem_async.shortcuts import get_objects_for_user
from tests.conftest import Api, deny, grant, known_user
from tests.testapp.models import Page, PageProxy, SpecialPage, Thing, User

PERM = "testapp.read_page"


@pytest.fixture
def user(db: None) -> User:
    return grant(User.objects.create_user("user.name"), PERM)


@pytest.fixture
def pages(user: User) -> dict[str, Page]:
    """Pages of the user's, of nobody's, of somebody else's; children of each."""
    other = User.objects.create_user("other")
    pages = {
        title: Page.objects.create(title=title, owner=owner, rank=rank)
        for title, owner, rank in (("own", user, 1), ("nobody's", None, None), ("other", other, 3))
    }
    for title, page in list(pages.items()):
        for child in (f"child of {title}", f"second child of {title}"):
            pages[child] = Page.objects.create(title=child, parent=page)
    pages["child of own"].editors.add(user, other)
    pages["other"].editors.add(user, other)
    pages["second child of own"].editors.add(user)
    for child in ("child of other", "second child of other"):
        pages[child].editors.add(other)
    return pages


@pytest.fixture
def forms(access_methods: Callable[..., None]) -> Callable[..., None]:
    """Give pages query forms for one test: ``forms(lambda cls, user: …, group=…)``."""

    def give(user: Any = None, group: Any = None, model: type = Page) -> None:
        found = {"_quser_can_read_page": user, "_qgroup_can_read_page": group}
        access_methods(
            model, **{name: classmethod(form) for name, form in found.items() if form is not None}
        )

    return give


def listed(api: Api, user: Any, klass: Any = Page, perm: str = PERM) -> Any:
    return api(shortcuts).get_objects_for_user(user, perm, klass)


@pytest.mark.parametrize(
    "grants", [*itertools.product([True, False, None, PermissionDenied], repeat=2)]
)
def test_either_source_is_enough(api, user, pages, forms, grants):
    forms(*(Mock(side_effect=itertools.repeat(grant)) for grant in grants))
    expected = len(pages) if True in grants else 0
    assert len(listed(api, user)) == expected
    assert api(user).has_perm(PERM, pages["own"]) is bool(expected)


def test_groups_are_asked_about_lazily(api, user, pages, forms, django_assert_num_queries):
    user.groups.add(team := Group.objects.create(name="team"))
    pages["other"].teams.add(team)
    forms(lambda cls, user: Q(owner=user), lambda cls, groups: Q(teams__in=groups))
    assert {page.title for page in listed(api, user)} == {"own", "other"}
    with django_assert_num_queries(1):
        assert listed(api, user).count() == 2


async def later(cls: Any, user: Any) -> Q:
    return Q(rank=1)


BAD = [
    *(Q(), ~Q(), Q(Q()), Q(~Q()), Q(rank=1) | Q(Q(Q()), Q(owner=None)), Q(rank=OuterRef("rank"))),
    *(Q(Q(), pk__in=Page.objects.all()), ExpressionWrapper(Q(), BooleanField()), F("rank"), Q),
    *("yes", 1, Value(1), [Q(rank=1)], Page.objects.all()),
]


@pytest.mark.parametrize("form", [*(lambda *_, each=each: each for each in BAD), later])
def test_what_is_no_condition_is_refused(api, user, pages, forms, form):
    forms(form)
    message = "later returned an awaitable" if form is later else "lambda> returned"
    for ask in (lambda: listed(api, user), lambda: api(user).has_perm(PERM, pages["own"])):
        with pytest.raises(NotADecisionError, match=message):
            ask()


def test_list_without_a_query_form_is_an_error_for_everybody(api, user, pages, access_methods):
    access_methods(Page, _user_can_read_page=lambda self, user: True)
    inactive = User(pk=77, is_active=False)
    for someone in (user, inactive, User.objects.create_superuser("super"), AnonymousUser()):
        with pytest.raises(NoQueryFormError, match=r"Page\._user_can_read_page") as caught:
            listed(api, someone)
        assert "    @classmethod\n    def _quser_can_read_page(cls, user):\n" in str(caught.value)
    access_methods(Page, _quser_can_read_page=classmethod(lambda cls, user: True))
    assert len(listed(api, user)) == len(pages)
    access_methods(Page, _agroup_can_read_page=lambda self, groups: True)
    with pytest.raises(NoQueryFormError, match=r"def _qgroup_can_read_page\(cls, groups\)"):
        listed(api, user)


def test_method_that_its_class_hides_counts(api, user, pages, access_methods):
    hidden = DynamicClassAttribute(lambda self: lambda user: False)
    access_methods(Page, _user_can_read_page=hidden)
    assert api(user).has_perm(PERM, pages["own"]) is False
    with pytest.raises(NoQueryFormError):
        listed(api, user)


def test_nearest_form_counts(api, user, forms, access_methods):
    special = SpecialPage.objects.create(owner=user)
    forms(lambda cls, user: True)
    access_methods(SpecialPage, _user_can_read_page=deny)
    assert api(user).has_perm(PERM, special.page_ptr) is True
    assert api(user).has_perm(PERM, special) is False
    with pytest.raises(NoQueryFormError, match="SpecialPage"):
        listed(api, user, SpecialPage)
    forms(lambda cls, user: Q(owner=user), model=SpecialPage)  # now the class has both
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, special) is False
    assert list(listed(api, user, SpecialPage)) == [special]


def test_query_form_replaces_a_python_form_further_away(api, user, forms, access_methods):
    special = SpecialPage.objects.create(owner=user)
    access_methods(Page, _user_can_read_page=deny)
    forms(lambda cls, user: Q(owner=user), model=SpecialPage)
    assert api(user).has_perm(PERM, special) is True
    assert list(listed(api, user, SpecialPage)) == [special]


def test_query_form_must_be_a_class_method(api, user, pages, access_methods):
    access_methods(Page, _quser_can_read_page=lambda cls, user: True)
    for ask in (lambda: listed(api, user), lambda: api(user).has_perm(PERM, pages["own"])):
        with pytest.raises(TypeError, match=r"Page\._quser_can_read_page must be a class method"):
            ask()


def test_without_access_methods_the_list_is_open(api, user, pages):
    assert len(listed(api, user)) == len(pages)
    assert len(listed(api, User.objects.get(username="other"))) == 0


def test_whatever_can_be_filtered_is_listed(api, user, pages, forms):
    forms(lambda cls, user: Q(owner=user) | Q(editors=user))
    titles = {"own", "child of own", "second child of own", "other"}
    for klass in (Page, Page.objects, Page.objects.all(), Page._base_manager, None):
        assert {page.title for page in listed(api, user, klass)} == titles
    assert {page.title for page in api(Page.objects.all()).permitted(user, PERM)} == titles
    assert set(Page.objects.permitted(user, PERM)) == set(listed(api, user))
    few = Page.objects.filter(rank=1).order_by("-pk").only("title")
    assert [page.title for page in api(few).permitted(user, PERM)] == ["own"]
    children = {page.title for page in listed(api, user, pages["own"].children)}
    assert children == {"child of own", "second child of own"}
    lazy = SimpleLazyObject(lambda: User.objects.get(pk=user.pk))
    assert {page.title for page in listed(api, lazy)} == titles


def test_what_cannot_be_filtered_is_refused_for_everybody(api, user, pages):
    nobody = User(pk=77)
    for someone in (user, nobody):
        for klass, error, message in (
            (Page.objects.all()[:3], TypeError, "sliced"),
            (Page.objects.raw("SELECT 1"), TypeError, "can't be filtered"),
            (Page.objects.all().union(Page.objects.all()), NotSupportedError, "union"),
            ("Page", TypeError, "can't be filtered"),
            (Thing, ImproperlyConfigured, "Thing has no permission 'testapp.read_page'"),
        ):
            with pytest.raises(error, match=message):
                listed(api, someone, klass)
        for perm in ("testapp.no_such", "other.read_page", "read_page"):
            with pytest.raises(ImproperlyConfigured, match="No installed model"):
                listed(api, someone, None, perm)
            with pytest.raises(ImproperlyConfigured, match="Page has no permission"):
                listed(api, someone, Page, perm)
        with pytest.raises(ImproperlyConfigured, match=r"Did you mean 'testapp\.read_page'\?"):
            listed(api, someone, Page, "testapp.raed_page")
        with pytest.raises(TypeError, match="must be a string"):
            listed(api, someone, Page, None)


def test_permission_of_two_models_does_not_tell_what_to_list(api, user, monkeypatch):
    monkeypatch.setattr(Thing._meta, "permissions", [("read_page", "Can read page")])
    with pytest.raises(ImproperlyConfigured, match=r"Thing, Page|Page, Thing"):
        listed(api, user, None)


def test_parent_owns_the_permission_that_it_has_a_method_for(api, user, forms, access_methods):
    access_methods(Thing, _quser_can_read_page=classmethod(lambda cls, user: Q(owner=user)))
    things = [Thing.objects.create(owner=owner) for owner in (user, None)]
    assert list(listed(api, user, Thing)) == things[:1]
    access_methods(Thing, _quser_can_change_thing=classmethod(lambda cls, user: True))
    with pytest.raises(ImproperlyConfigured, match=r"no permission 'other\.change_thing'"):
        listed(api, user, Thing, "other.change_thing")


def test_list_next_to_a_backend_that_decides_on_objects_is_an_error(api, pages, forms, settings):
    forms(lambda cls, user: Q(rank=3))
    other = User.objects.get(username="other")
    backends = list(settings.AUTHENTICATION_BACKENDS)
    settings.AUTHENTICATION_BACKENDS = [*backends, "tests.backends.GrantsModelLevel"]
    with pytest.raises(ImproperlyConfigured, match=r"Level may .*answers_for_objects = False"):
        listed(api, other)
    settings.AUTHENTICATION_BACKENDS = [*backends, "tests.backends.ModelLevelAlone"]
    assert [page.title for page in listed(api, other)] == ["other"]
    settings.AUTHENTICATION_BACKENDS = backends[:1]
    with pytest.raises(ImproperlyConfigured, match="No backend in AUTHENTICATION_BACKENDS calls"):
        listed(api, other)


def test_annotation_does_not_pass_for_a_field(api, user, pages, forms):
    forms(lambda cls, user: Q(owner=user))
    for name, value in (("owner", user.pk), ("owner_id", user.pk), ("pk", pages["own"].pk)):
        fake = Page.objects.values("title").annotate(**{name: Value(value)})
        with pytest.raises(TypeError, match="Rename the annotation"):
            listed(api, user, fake)
    condition = api(shortcuts).permitted(user, PERM, Page)
    with pytest.raises(TypeError, match="Rename the annotation"):
        Page.objects.annotate(pk=F("rank")).filter(condition)
    forms(lambda cls, user: Q(owner__exact=user.pk))
    fake = Page.objects.annotate(owner__exact=Value(user.pk))
    assert [page.title for page in listed(api, user, fake)] == ["own"]
    counted = Page.objects.annotate(count=Count("children"))
    assert [(page.title, page.count) for page in listed(api, user, counted)] == [("own", 2)]


def test_rules_compose_by_subqueries(api, user, pages, forms, access_methods):
    forms(lambda cls, user: Q(parent__in=get_objects_for_user(user, "testapp.change_page", Page)))
    access_methods(Page, _quser_can_change_page=classmethod(lambda cls, user: Q(owner=user)))
    user = grant(user, "testapp.change_page")
    assert {page.title for page in listed(api, user)} == {"child of own", "second child of own"}
    assert api(user).has_perm(PERM, pages["child of own"]) is True
    forms(lambda cls, user: Q(parent__in=get_objects_for_user(user, PERM, Page)))
    for ask in (lambda: listed(api, user), lambda: api(user).has_perm(PERM, pages["own"])):
        with pytest.raises(PermissionRecursionError, match=r"read_page on all of Page"):
            ask()


def test_lists_make_no_logs(api, user, pages, forms, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 2

    def form(cls: type, user: User) -> Q:
        user.log("building")
        return Q(owner=user)

    forms(form)
    user.start_log("mine")
    assert len(listed(api, user)) == 1
    assert user.end_log() == ("mine", [])
    with pytest.raises(KeyError):
        user.get_log(f"auto-{PERM}")
    assert api(user).has_perm(PERM, pages["own"]) is True
    assert "building" in user.get_last_log(raw=True)


def test_derived_check_judges_the_row_as_stored(api, user, pages, forms, django_assert_num_queries):
    forms(lambda cls, user: Q(owner=user))
    own, other = pages["own"], pages["other"]
    other.owner = user  # not saved
    assert api(user).has_perm(PERM, own) is True
    with django_assert_num_queries(1):
        assert api(user).has_perm(PERM, other) is False
    with django_assert_num_queries(0):
        assert api(user).has_perm(PERM, other) is False
    with pytest.raises(ValueError, match=r"isn't saved.*define Page\._user_can_read_page"):
        api(user).has_perm(PERM, Page(owner=user))
    with pytest.raises(ValueError, match="isn't saved"):
        api(user).get_all_permissions(Page(owner=user))
    assert api(User(pk=77)).has_perm(PERM, Page(owner=user)) is False
    for answer in (True, Q(owner=user)):
        user.clear_perm_cache()
        forms(lambda cls, user, answer=answer: answer)
        gone = Page.objects.create(owner=user)
        Page.objects.filter(pk=gone.pk).delete()
        assert api(user).has_perm(PERM, gone) is False


def test_object_is_got_if_it_may_be(api, user, pages, forms):
    forms(lambda cls, user: Q(owner=user))
    get = api(shortcuts).get_object_for_user
    assert get(user, PERM, Page, title="own") == pages["own"]
    assert get(user, PERM, Page.objects.order_by("pk"), Q(rank=1), owner=user) == pages["own"]
    with pytest.raises(Http404):
        get(user, PERM, Page, title="no such")
    with pytest.raises(PermissionDenied):
        get(user, PERM, Page.objects, title="other")
    with pytest.raises(TypeError, match="selects values, not objects"):
        get(user, PERM, Page.objects.values_list("parent", flat=True), title="other")


async def test_known_permissions_need_no_thread(forms):
    threads: list[Any] = []

    def form(cls: type, user: User) -> Q:
        threads.append(threading.current_thread())
        return Q(owner=user)

    forms(form)
    user = known_user()
    user._perm_cache = {PERM}
    assert str((await shortcuts.aget_objects_for_user(user, PERM)).query).count("WHERE") == 1
    assert str(get_objects_for_user(user, PERM).query).count("WHERE") == 1
    assert threads == [threading.current_thread()] * 2
    user.clear_perm_cache()
    with pytest.raises(SynchronousOnlyOperation):
        get_objects_for_user(user, PERM)


def test_condition_only_goes_with_its_model(api, user, pages, forms):
    forms(lambda cls, user: Q(owner=user) | Q(editors=user))
    superuser = User.objects.create_superuser("super")
    for someone in (user, superuser, User(pk=77)):
        condition = api(shortcuts).permitted(someone, PERM, Page)
        for wrong in (Thing.objects, User.objects):
            for use in (wrong.filter, wrong.exclude, lambda found, of=wrong: of.annotate(x=found)):
                with pytest.raises(TypeError, match="for Page, but the queryset is for"):
                    use(condition)
        rows = Page.objects.filter(condition).annotate(x=condition)
        nested = User.objects.filter(Exists(rows.filter(owner=OuterRef("pk"))))
        assert set(nested) == {row.owner for row in rows if row.owner}
    assert PageProxy.objects.filter(condition).count() == Page.objects.filter(condition).count()
    with pytest.raises(TypeError, match="the queryset is for SpecialPage"):
        SpecialPage.objects.filter(condition)  # it may have another key


def test_arguments_in_the_wrong_places_are_refused(api, user, pages):
    got = api(shortcuts).get_object_for_user
    for call, message in (
        (lambda: listed(api, None), "must be a user instance, not NoneType"),
        (lambda: got(None, PERM, Page, title="own"), "must be a user instance, not NoneType"),
        (lambda: listed(api, PERM, Page, user), "must be a string"),
        (lambda: listed(api, PERM, None, user), "must be a string"),
        (lambda: api(shortcuts).permitted(user, PERM, Page.objects), "must be a model class"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.parametrize("name", ["apermitted", "aget_objects_for_user", "aget_object_for_user"])
def test_forgotten_await_is_an_error(user, name):
    with pytest.raises(TypeError, match=rf"{name}\(\) was not awaited"):
        bool(getattr(shortcuts, name)(user, PERM, Page))
    for check in (Page.objects.apermitted(user, PERM), user.aprefetch_perms([PERM], [])):
        with pytest.raises(TypeError, match="was not awaited"):
            bool(check)
