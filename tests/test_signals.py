"""`djem_async.signals.permission_checked`: one event for each check that code asks for."""

import asyncio
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.views.generic import ListView

from djem_async import _telling
from djem_async.auth import PermissionListMixin, permission_required
from djem_async.explain import Explanation
from djem_async.shortcuts import (
    aget_objects_for_user,
    apermitted,
    get_object_for_user,
    get_objects_for_user,
    permitted,
)
from djem_async.signals import permission_checked
from djem_async.test import assert_denied, capture_checks, grant
from tests.conftest import OUR_BACKEND, PERM, allow, deny
from tests.testapp.models import OtherThing, Page, PlainUser, Thing, User

READ = "testapp.read_page"
OTHER = "testapp.view_otherthing"


@contextmanager
def connected(receiver):
    permission_checked.connect(receiver)
    try:
        yield
    finally:
        permission_checked.disconnect(receiver)


@pytest.fixture
def events():
    """What is sent: the sender, the permission, the model, the key and whether it is granted."""
    found = []

    def receive(sender, explanation, **_):
        label = explanation.model and explanation.model.partition(".")[2]
        result = "granted" if explanation.granted else str(explanation.reason)
        found.append((sender, explanation.perm, label, explanation.object, result))

    with connected(receive):
        yield found


def test_each_check_is_one_event(api, user, thing, events, access_methods):
    access_methods(Thing, _user_can_use_thing=deny)
    of_thing = (User, PERM, "Thing", thing.pk, "user_method")
    for _ in range(2):  # cold and warm
        assert api(user).has_perm(PERM, thing) is False
        assert events == [of_thing]
        events.clear()
    assert api(user).has_perms([PERM, "testapp.x"]) is False
    assert events == [
        (User, PERM, None, None, "granted"),
        (User, "testapp.x", None, None, "model_level"),
    ]


def test_nested_checks_are_events(api, user, thing, events, access_methods):
    other = OtherThing.objects.create()
    access_methods(Thing, _user_can_use_thing=lambda thing, user: user.has_perm(OTHER, other))
    assert api(user).has_perm(PERM, thing) is False
    assert events == [
        (User, OTHER, "OtherThing", other.pk, "model_level"),
        (User, PERM, "Thing", thing.pk, "user_method"),
    ]


def test_nested_checks_are_told_apart(api, user, thing, access_methods):
    other, nested = OtherThing.objects.create(), []

    def receive(is_nested, **_):
        nested.append(is_nested)

    original = User.has_perm
    access_methods(User, has_perm=lambda self, *args: original(self, *args))
    access_methods(Thing, _user_can_use_thing=lambda thing, user: user.has_perm(OTHER, other))
    with connected(receive):
        api(user).has_perm(PERM, thing)
    assert nested == [True, False]


def test_explanations_are_no_events(api, user, thing, events, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda thing, user: user.has_perm(OTHER))
    api(user).explain_perm(PERM, thing)
    assert_denied(user, PERM, thing)
    assert events == []


def test_model_level_step_by_way_of_the_user_is_no_event(api, user, thing, events, access_methods):
    original = User.has_perm

    def has_perm(self, perm, obj=None):
        return original(self, perm, *(() if obj is None else (obj,)))

    access_methods(User, has_perm=has_perm)
    assert api(user).has_perm(PERM, thing) is True
    assert get_objects_for_user(user, PERM, Thing).exists()
    api(user).prefetch_perms([PERM], [thing])
    assert events == [
        (User, PERM, "Thing", thing.pk, "granted"),
        (User, PERM, "Thing", None, "granted"),
    ]


@pytest.mark.parametrize(
    ("form", "result"), [(Q(title="page"), "granted"), (False, "user_method"), (None, "no_method")]
)
def test_list_is_one_event(user, events, access_methods, form, result):
    grant(user, READ)
    if result != "no_method":
        access_methods(Page, _quser_can_read_page=classmethod(lambda cls, user: form))

    class View(PermissionListMixin, ListView):
        model, permission_required = Page, READ

    request = RequestFactory().get("/")
    request.user = user
    result = "granted" if result == "no_method" else result  # it is open
    asks = [
        lambda: get_objects_for_user(user, READ),
        lambda: async_to_sync(aget_objects_for_user)(user, READ, Page),
        lambda: permitted(user, READ, Page),
        lambda: async_to_sync(apermitted)(user, READ, Page),
        lambda: Page.objects.permitted(user, READ),
        lambda: View.as_view()(request),
    ]
    for ask in asks:
        ask()
        assert events == [(User, READ, "Page", None, result)]
        events.clear()
        user.clear_perm_cache()
    get_objects_for_user(AnonymousUser(), READ)
    assert [event[1:] for event in events] == [(READ, "Page", None, "inactive")]


def test_list_in_an_access_method_is_explained(user, thing, access_methods):
    grant(user, READ)

    def pages(cls, user):
        return Q(title="page")

    access_methods(Page, _quser_can_read_page=classmethod(pages))
    access_methods(
        Thing, _user_can_use_thing=lambda thing, user: get_objects_for_user(user, READ).exists()
    )
    (nested,) = user.explain_perm(PERM, thing).nested
    assert (nested.model, nested.object, nested.granted) == ("testapp.Page", None, True)
    assert nested.decided_by == "tests.testapp.models.Page._quser_can_read_page"
    assert str(nested).startswith(f"{READ} on testapp.Page, user {user.pk}: granted")


def test_object_that_is_fetched_in_an_access_method_is_explained(user, thing, access_methods):
    page = Page.objects.create()
    grant(user, READ)
    access_methods(
        Thing, _user_can_use_thing=lambda _, user: get_object_for_user(user, READ, Page, pk=page.pk)
    )
    (nested,) = user.explain_perm(PERM, thing).nested
    assert (nested.model, nested.object, nested.granted) == ("testapp.Page", page.pk, True)


def test_prefetching_and_sets_are_no_events(api, user, thing, events, access_methods):
    access_methods(Thing, _user_can_use_thing=allow)
    api(user).prefetch_perms([PERM], [thing])
    assert PERM in api(user).get_all_permissions(thing)
    assert user in User.objects.with_perm(PERM, obj=thing, backend=OUR_BACKEND)
    assert events == []


def test_receivers_that_check_send_nothing_and_leave_the_last_log(
    api, user, thing, events, access_methods, settings
):
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    other = OtherThing.objects.create()
    access_methods(OtherThing, _user_can_view_otherthing=lambda _, user: user.has_perm(PERM))
    grant(user, OTHER)
    answers = []

    def sync_receiver(**_):
        answers.append(user.has_perm(OTHER, other))
        get_objects_for_user(user, PERM)

    async def receiver(**_):
        answers.append(await user.ahas_perm(OTHER, other))

    with connected(sync_receiver), connected(receiver):
        assert api(user).has_perm(PERM, thing) is True
    assert f"Permission: {PERM}" in user.get_last_log()
    assert answers == [True, True]
    assert events == [(User, PERM, "Thing", thing.pk, "granted")]


def test_receiver_that_raises_changes_nothing(api, user, thing, events, caplog):
    def broken(**_):
        raise ValueError("broken")

    async def abroken(**_):
        raise ValueError("broken, too")

    with connected(broken), connected(abroken):
        assert api(user).has_perm(PERM, thing) is True
    assert len(events) == 1
    logged = {str(record.exc_info[1]) for record in caplog.records}
    assert logged == {"broken", "broken, too"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connections_of_threads")
async def test_receivers_of_both_kinds_hear_of_async_checks(events):
    user = await User.objects.acreate(username="user.name")
    heard = []

    async def receiver(explanation, **_):
        await asyncio.sleep(0)
        heard.append(explanation.perm)

    with connected(receiver):
        assert await user.ahas_perm(PERM) is False
    assert heard == [perm for _, perm, *_ in events] == [PERM]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connections_of_threads")
async def test_async_receiver_cannot_break_a_sync_check_on_an_event_loop(events, caplog):
    user = await User.objects.acreate_user("user.name")
    await user.ahas_perm(PERM)
    events.clear()

    async def receiver(**_):
        raise AssertionError("It can't be called.")

    with connected(receiver):
        assert user.has_perm(PERM) is False
    assert len(events) == 1
    assert "could not be sent" in caplog.text


def test_check_that_raises_is_an_event(api, user, thing, events, access_methods):
    def broken(*_):
        raise ValueError

    access_methods(Thing, _user_can_use_thing=broken)
    access_methods(Page, _quser_can_read_page=classmethod(broken))
    grant(user, READ)
    with pytest.raises(ValueError, match=r"^$"):
        api(user).has_perm(PERM, thing)
    with pytest.raises(ValueError, match=r"^$"):
        get_objects_for_user(user, READ)
    assert events == [
        (User, PERM, "Thing", thing.pk, "error"),
        (User, READ, "Page", None, "error"),
    ]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_views_and_templates_tell_of_users_without_the_mixin(thing, events, mode, access_methods):
    access_methods(Thing, _user_can_use_thing=allow)
    user = PlainUser.objects.create(name="plain")
    grant(user, PERM)

    @permission_required((PERM, "thing"))
    def view(request, thing):
        return HttpResponse()

    @permission_required((PERM, "thing"))
    async def aview(request, thing):
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = user
    (view if mode == "sync" else async_to_sync(aview))(request, thing=thing.pk)
    assert events == [(PlainUser, PERM, "Thing", thing.pk, "granted")]
    source = "{% load djem_async %}{% ifperm user '" + PERM + "' thing %}yes{% endifperm %}"
    assert Template(source).render(Context({"user": user, "thing": thing})) == "yes"
    assert events == [(PlainUser, PERM, "Thing", thing.pk, "granted")] * 2


@pytest.mark.parametrize("is_superuser", [True, False])
def test_view_that_refuses_an_unknown_permission_tells_so(user, thing, events, rf, is_superuser):
    user.is_superuser = is_superuser
    request = rf.get("/")
    request.user = user
    for perm in ("testapp.chnage_thing", "nowhere"):
        for required in (perm, (perm, "thing")):
            view = permission_required(required)(lambda request, thing: HttpResponse())
            assert view(request, thing=thing.pk).status_code == 302
            assert [(perm, result) for _, perm, *_, result in events] == [(perm, "model_level")]
            events.clear()


def test_view_tells_of_users_who_decide_themselves(thing, events, rf):
    class Guest(AnonymousUser):
        def has_perm(self, perm, obj=None):
            return perm == PERM

    request = rf.get("/")
    request.user = Guest()
    view = permission_required((PERM, "thing"))(lambda request, thing: HttpResponse())
    assert view(request, thing=thing.pk).status_code == 200
    assert events == [(Guest, PERM, "Thing", thing.pk, "granted")]


def test_nothing_is_made_while_nobody_listens(api, user, thing, monkeypatch, access_methods):
    made = []

    def explain(**values):
        made.append(values)
        return Explanation(**values)

    monkeypatch.setattr(_telling, "Explanation", explain)
    access_methods(Thing, _quser_can_use_thing=classmethod(lambda cls, user: True))

    def ask():
        assert api(user).has_perm(PERM, thing)
        assert get_objects_for_user(user, PERM)
        api(user).prefetch_perms([PERM], [thing])

    ask()
    ask()
    assert made == []
    with capture_checks():
        ask()
    assert len(made) == 2
