"""Checks that only look: explanations, and those of a receiver. They leave nothing behind."""

import asyncio
from contextvars import copy_context

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied

from djem_async.shortcuts import aget_object_for_user, get_object_for_user
from djem_async.signals import permission_checked
from tests.conftest import MODEL_BACKEND, OUR_BACKEND, PERM, allow, deny, grant, permission
from tests.testapp.models import OtherThing, Page, PlainUser, Thing, User

OTHER, READ = "testapp.view_otherthing", "testapp.read_page"


@pytest.fixture
def other(user):
    grant(user, OTHER, READ)
    return OtherThing.objects.create(name="secret")


@pytest.fixture
def hear(request):
    """Connect a receiver for the time of the test."""

    def connect(receiver):
        permission_checked.connect(receiver, weak=False)
        request.addfinalizer(lambda: permission_checked.disconnect(receiver))

    return connect


def lock(thing, user):
    user.log(f"{thing.name} is locked")
    return user.has_perm(READ)


@pytest.mark.parametrize("verbosity", [0, 1])
def test_receiver_adds_nothing_to_the_check_it_hears_of(
    api, user, thing, other, access_methods, settings, hear, verbosity
):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    ended, original = [], User.end_log

    def end_log(self):
        ended.append(original(self))
        return ended[-1]

    access_methods(User, end_log=end_log)
    access_methods(OtherThing, _user_can_view_otherthing=lock)
    access_methods(Thing, _user_can_use_thing=lambda thing, user: user.has_perm(READ))
    hear(lambda explanation, **_: explanation.perm == READ and user.has_perm(OTHER, other))
    user.start_log("mine")
    api(user).has_perm(PERM, thing)
    assert "secret is locked" not in map(str, user.end_log()[1])
    assert "secret" not in str(api(user).explain_perm(PERM, thing))
    names = [f"auto-{READ}", f"auto-{PERM}", f"auto-{PERM}-{thing.pk}"] if verbosity else []
    assert sorted(name for name, _ in ended) == sorted([*names, "mine"])
    with pytest.raises(KeyError):
        user.get_log(f"auto-{OTHER}-{other.pk}")


@pytest.mark.parametrize("is_within", [False, True])
def test_explanation_persists_no_logs(api, user, thing, other, access_methods, settings, is_within):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    ended, original = [], User.end_log

    def end_log(self):
        ended.append(original(self)[0])
        return ended[-1], []

    access_methods(User, end_log=end_log)
    access_methods(OtherThing, _user_can_view_otherthing=lock)
    if is_within:
        access_methods(Thing, _user_can_use_thing=lambda _, user: user.explain_perm(OTHER, other))
        with pytest.raises(TypeError):
            api(user).has_perm(PERM, thing)
    else:
        access_methods(Thing, _user_can_use_thing=lambda _, user: user.has_perm(OTHER, other))
        api(user).explain_perm(PERM, thing)
    assert not [name for name in ended if OTHER in name or READ in name]


def test_explanation_writes_no_logs_of_other_users(api, user, thing, access_methods):
    boss, second = grant(User.objects.create_user("boss"), PERM), Thing.objects.create()

    def decide(self, asked):
        asked.log("a line")
        return self == second or boss.has_perm(PERM, second)

    access_methods(Thing, _user_can_use_thing=decide)
    boss.start_log("mine")
    assert api(user).explain_perm(PERM, thing).nested[0].lines == ("a line",)
    assert boss.end_log() == ("mine", [])


def test_access_method_finds_the_same_logs(api, user, thing, other, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    original = User.has_perm
    access_methods(User, has_perm=lambda self, *args: original(self, *args))

    def decide(self, asked):
        asked.has_perm(OTHER, other)
        return "Granted" in asked.get_log(f"auto-{OTHER}")

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).explain_perm(PERM, thing).granted
    user.clear_perm_cache()
    assert api(user).has_perm(PERM, thing)


def test_dropped_coroutine_leaves_the_logs_of_another_context(user, thing, access_methods):
    class Never:
        def __await__(self):
            yield None

    async def wait(self, asked):
        await Never()

    def log(line):
        user.start_log("mine")
        user.log(line)
        user.end_log()

    access_methods(Thing, _user_can_use_thing=wait)
    user.has_perm(PERM)
    one, two = copy_context(), copy_context()
    one.run(log, "of one")
    coroutine = user.aexplain_perm(PERM, thing).__await__()
    one.run(coroutine.send, None)
    two.run(log, "of two")
    two.run(coroutine.close)
    assert two.run(user.get_log, "mine") == "of two"


# Who decided


class Raises(BaseBackend):
    def has_perm(self, user_obj, perm, obj=None):
        raise ValueError

    async def ahas_perm(self, user_obj, perm, obj=None):
        raise ValueError


def test_error_is_not_blamed_on_who_was_asked_before(api, user, thing, access_methods, settings):
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, OUR_BACKEND, f"{__name__}.Raises"]
    access_methods(Thing, _user_can_use_thing=deny)
    found = api(user).explain_perm(PERM, thing)
    assert (found.error, found.decided_by) == ("ValueError", None)


def test_error_of_a_user_model_is_explained(api, user, thing, access_methods):
    original = User.has_perm

    def has_perm(self, perm, *on):
        if not original(self, perm, *on) and on:
            raise RuntimeError
        return True

    access_methods(User, has_perm=has_perm)
    access_methods(Thing, _user_can_use_thing=deny)
    assert api(user).explain_perm(PERM, thing).error == "RuntimeError"


def test_another_unsaved_object_does_not_explain(api, user, access_methods):
    original, asked, other = User.has_perm, Thing(name="mine"), Thing(name="secret")

    def has_perm(self, perm, *on):
        return original(self, perm, *((other,) if on else ()))

    def locked(self, _):
        raise PermissionDenied(self.name)

    access_methods(User, has_perm=has_perm)
    access_methods(Thing, _user_can_use_thing=locked)
    found = api(user).explain_perm(PERM, asked)
    assert (found.reason, found.lines) == ("other_backend", ())


def test_lines_of_checks_that_have_no_explanation_of_their_own_are_kept(thing, access_methods):
    user = PlainUser.objects.create(name="plain")
    user.user_permissions.set([permission(perm) for perm in (PERM, OTHER, READ)])
    other, page = OtherThing.objects.create(), Page.objects.create()

    def locked(*_):
        raise PermissionDenied("locked")

    def decide(self, asked):
        get_object_for_user(asked, READ, Page, pk=page.pk)
        return asked.has_perm(OTHER, other)

    access_methods(OtherThing, _user_can_view_otherthing=locked)
    access_methods(Thing, _user_can_use_thing=decide)
    with pytest.raises(PermissionDenied) as caught:
        get_object_for_user(user, PERM, Thing, pk=thing.pk)
    assert caught.value.explanation.lines == ("locked",)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connections_of_threads")
async def test_gathered_checks_of_a_stock_user_drop_each_others_permissions(monkeypatch):
    monkeypatch.setattr(Thing, "_user_can_use_thing", allow, raising=False)
    user = await PlainUser.objects.acreate(name="plain")
    await user.user_permissions.aadd(await sync_to_async(permission)(PERM))
    things = [await Thing.objects.acreate() for _ in range(6)]

    async def fetch(thing, delay):
        for _ in range(delay):
            await asyncio.sleep(0)
        return await aget_object_for_user(user, PERM, Thing, pk=thing.pk)

    for number in range(30):
        user = await PlainUser.objects.aget(pk=user.pk)
        gathered = (fetch(each, place * number % 7) for place, each in enumerate(things))
        assert await asyncio.gather(*gathered) == things
