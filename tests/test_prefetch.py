"""`prefetch_perms`: what it decides, what it costs, and what it leaves as it was."""

import asyncio
import inspect
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db.models import Q

from djem_async.access import nonblocking
from djem_async.exceptions import NotADecisionError, PermissionRecursionError
from tests.conftest import aallow, assert_nothing_active, decorated, deny, grant, known_user, stored
from tests.test_counts import count
from tests.testapp.models import CompositeThing, OtherThing, Page, Thing, User

READ, CHANGE, USE = "testapp.read_page", "testapp.change_page", "testapp.use_thing"


@pytest.fixture
def user(db: None) -> User:
    return grant(User.objects.create_user("user.name"), READ, CHANGE, USE)


@pytest.fixture
def pages(user: User) -> list[Page]:
    owners = itertools.cycle([user, None])
    Page.objects.bulk_create(Page(rank=rank, owner=next(owners)) for rank in range(20))
    return list(Page.objects.order_by("rank"))


def is_owner(page: Page, user: User) -> bool:
    return page.owner_id == user.pk


async def is_owner_later(page: Page, user: User) -> bool:
    await asyncio.sleep(0)
    return page.owner_id == user.pk


def is_low(page: Page, groups: Any) -> bool:
    return page.rank < 5


def denied_as_attribute(page: Page) -> Any:
    if page.owner_id is not None:
        raise PermissionDenied
    return lambda user: True


def by_query(rule: Callable[[Any], Any]) -> Any:
    return classmethod(lambda cls, argument: rule(argument))


OWN, LOW = by_query(lambda user: Q(owner=user)), by_query(lambda groups: Q(rank__lt=5))
NEVER = by_query(lambda user: False)
FORMS: dict[str, dict[str, Any]] = {
    "def": {"_user_can_read_page": is_owner},
    "async def": {"_user_can_read_page": is_owner_later},
    "twins": {"_user_can_read_page": is_owner, "_auser_can_read_page": is_owner_later},
    "nonblocking": {"_user_can_read_page": nonblocking(lambda page, user: is_owner(page, user))},
    "defs": {"_user_can_read_page": is_owner, "_group_can_read_page": is_low},
    "query": {"_quser_can_read_page": OWN},
    "queries": {"_quser_can_read_page": OWN, "_qgroup_can_read_page": LOW},
    "query and def": {"_quser_can_read_page": OWN, "_group_can_read_page": is_low},
    "def and query": {"_user_can_read_page": is_owner, "_qgroup_can_read_page": LOW},
    "async def and def": {"_user_can_read_page": is_owner_later, "_group_can_read_page": is_low},
    "constants": {"_quser_can_read_page": NEVER, "_qgroup_can_read_page": LOW},
    "property": {"_user_can_read_page": property(denied_as_attribute)},
    "nothing": {},
}


@pytest.mark.parametrize("form", FORMS)
def test_checks_find_what_was_prefetched(
    api, user, pages, access_methods, form, django_assert_num_queries
):
    access_methods(Page, **FORMS[form])
    alone = User.objects.get(pk=user.pk)
    expected = [alone.has_perm(READ, page) for page in pages]
    # One for the permissions, one for each that has a query form.
    with django_assert_num_queries(1 + ("quer" in form or form == "constants")):
        api(user).prefetch_perms([READ, CHANGE], pages)
    with django_assert_num_queries(0):
        assert [user.has_perm(READ, page) for page in pages] == expected
        assert all(user.has_perm(CHANGE, page) for page in pages)
    assert True in expected
    assert (False in expected) is (form != "nothing")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connections_of_threads")
@pytest.mark.parametrize("form", FORMS)
def test_it_takes_one_hop(user, pages, access_methods, form):
    access_methods(Page, **FORMS[form])
    calls: list[str] = []

    async def read() -> None:
        await user.aprefetch_perms([READ, CHANGE, USE], pages)
        calls.extend(str(user.has_perm(READ, page)) for page in pages)  # in a template

    queries, hops = count(read)
    assert len(calls) == len(pages)
    assert queries <= 2
    # A method that is plain may have to be asked after one that is async.
    assert hops == 1 if form != "async def and def" else hops <= 3


def test_objects_of_several_models_and_databases(api, user, pages, access_methods):
    access_methods(Thing, _quser_can_use_thing=by_query(lambda user: Q(name="good")))
    access_methods(Page, **FORMS["query"])
    with_keys = [Thing.objects.create(name=name) for name in ("good", "bad")]
    objects = [*pages, *with_keys, OtherThing.objects.create(), Thing(name="good"), Page()]
    objects += [CompositeThing.objects.create(tenant=1, number=number) for number in range(2)]
    api(user).prefetch_perms([READ, USE], iter(objects))
    Thing.objects.update(name="changed")
    Page.objects.update(owner=None)
    assert [user.has_perm(USE, thing) for thing in with_keys] == [True, False]
    assert [user.has_perm(READ, page) for page in pages[:2]] == [True, False]


@pytest.mark.parametrize("form", ["def", "query", "nothing"])
def test_nobody_is_asked_about_users_who_are_decided_about_already(
    api, pages, access_methods, form, django_assert_num_queries
):
    def asked(*_: Any) -> bool:
        raise AssertionError

    access_methods(Page, **dict.fromkeys(FORMS[form], asked))
    superuser = User.objects.create_superuser("super")
    inactive = grant(User.objects.create_user("inactive", is_active=False), READ)
    without = User.objects.create_user("without")
    for someone, is_granted in ((superuser, True), (inactive, False), (without, False)):
        api(someone).prefetch_perms([READ], pages)
        with django_assert_num_queries(0):
            assert someone.has_perm(READ, pages[0]) is is_granted


def test_what_is_known_is_not_asked_again(api, user, pages, access_methods):
    asked: list[Page] = []
    access_methods(Page, _user_can_read_page=lambda page, user: not asked.append(page))
    assert api(user).has_perm(READ, pages[3]) is True
    api(user).prefetch_perms([READ], pages)
    api(user).prefetch_perms([READ], pages)
    assert sorted(page.pk for page in asked) == [page.pk for page in pages]


def test_error_propagates_and_what_was_decided_stays(api, user, pages, access_methods):
    asked: list[Page] = []

    def decide(page: Page, user: User) -> bool:
        asked.append(page)
        if page == pages[2]:
            raise ValueError("wrong")
        return True

    access_methods(Page, _user_can_read_page=decide)
    with pytest.raises(ValueError, match="wrong"):
        api(user).prefetch_perms([READ], pages)
    assert all(user.has_perm(READ, page) for page in pages[:2])
    assert asked == pages[:3]
    access_methods(Page, _user_can_read_page=lambda page, user: Q(rank=1))
    with pytest.raises(NotADecisionError):
        api(user).prefetch_perms([READ], pages)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_error_of_an_async_method_propagates_and_ends_the_rest(access_methods, error):
    user, ended = known_user(), list[int]()
    user._perm_cache = {USE}

    async def decide(thing: Thing, user: User) -> bool:
        if thing.pk == 2:
            raise error
        try:
            await asyncio.sleep(0 if thing.pk == 1 else 60)
        finally:
            ended.append(thing.pk)
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    with pytest.raises(error):
        await user.aprefetch_perms([USE], [stored(pk) for pk in range(1, 5)])
    assert sorted(ended) == [1, 3, 4]


async def test_async_methods_run_concurrently_but_not_all_at_once(access_methods):
    user, running, most = known_user(), 0, 0

    async def decide(thing: Thing, user: User) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    await user.aprefetch_perms([USE], [stored(pk) for pk in range(1, 501)])
    assert 10 < most <= 100


async def test_nonblocking_methods_run_in_place_and_plain_ones_in_the_thread(access_methods):
    user, places = known_user(), dict[str, set[int]]()

    def decide(thing: Thing, argument: Any) -> bool:
        name = "user" if argument is user else "groups"
        places.setdefault(name, set()).add(threading.get_ident())
        return False

    access_methods(
        Thing,
        _user_can_use_thing=nonblocking(lambda thing, user: decide(thing, user)),
        _group_can_use_thing=decide,
    )
    await user.aprefetch_perms([USE], [stored(pk) for pk in range(1, 5)])
    assert places["user"] == {threading.get_ident()}
    assert len(places["groups"]) == 1
    assert places["groups"] != places["user"]


@pytest.mark.parametrize("verbosity", [0, 1, 2])
@pytest.mark.parametrize("form", ["def", "query"])
def test_lines_are_kept_and_logs_are_not_made(
    api, user, pages, access_methods, settings, verbosity, form
):
    def decide(_: object, user: User) -> bool:
        user.log("asked")
        raise PermissionDenied("why")

    name, method = {
        "def": ("_user_can_read_page", decorated),
        "query": ("_quser_can_read_page", classmethod),
    }[form]
    access_methods(Page, **{name: method(decide)})
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user.start_log("mine")
    api(user).prefetch_perms([READ], pages)
    assert user.end_log() == ("mine", [])
    with pytest.raises(KeyError):
        user.get_log(f"auto-{READ}")
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Page, **{name: None})
    assert user.has_perm(READ, pages[0]) is False
    assert user.get_last_log(raw=True)[-3:-1] == ["asked", "why"]
    assert_nothing_active(user)


def test_clear_wins_over_what_is_being_prefetched(api, user, pages, access_methods):
    def decide(page: Page, user: User) -> bool:
        if page == pages[5]:
            user.clear_perm_cache()
        return True

    access_methods(Page, _user_can_read_page=decide)
    api(user).prefetch_perms([READ], pages)
    access_methods(Page, _user_can_read_page=lambda page, user: False)
    assert not any(user.has_perm(READ, page) for page in pages)


def test_denial_by_a_property_counts_for_its_object_alone(api, user, pages, access_methods):
    class Method:
        def __get__(self, page: Page | None, _model: type) -> Any:
            if page is not None and page.rank == 1:
                raise PermissionDenied
            return deny

    everybody = by_query(lambda user: True)
    access_methods(Page, _quser_can_read_page=everybody, _group_can_read_page=Method())
    for some in (pages[:3], pages[1:3]):
        user.clear_perm_cache()
        api(user).prefetch_perms([READ], some)
        assert [user.has_perm(READ, page) for page in pages[:3]] == [True, False, True]


def test_query_form_that_prefetches_what_it_decides_is_refused(api, user, pages, access_methods):
    asking = classmethod(lambda cls, user: user.prefetch_perms([READ], pages))
    access_methods(Page, _quser_can_read_page=asking)
    with pytest.raises(PermissionRecursionError, match=READ):
        api(user).prefetch_perms([READ], pages)


async def test_coroutine_that_a_cancelled_prefetch_was_given_is_closed(gate, access_methods):
    coroutines: list[Any] = []

    def decide(thing: Thing, user: User) -> Any:
        gate.pass_through()
        coroutines.append(aallow())
        return coroutines[0]

    access_methods(Thing, _user_can_use_thing=decide)
    task = asyncio.create_task(known_user().aprefetch_perms([USE], [stored(1)]))
    await gate.reached()
    task.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sync_to_async(int)()
    assert inspect.getcoroutinestate(coroutines[0]) == inspect.CORO_CLOSED


class OnTheLoop:
    """A backend of the model level, in the async form alone."""

    answers_for_objects = False

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return False


async def test_prefetch_may_go_on_from_the_event_loop(access_methods, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OnTheLoop", *settings.AUTHENTICATION_BACKENDS]
    asked: list[int] = []
    access_methods(Thing, _user_can_use_thing=lambda thing, user: not asked.append(thing.pk))
    user, things = known_user(), [stored(pk) for pk in (1, 2)]
    await user.aprefetch_perms([USE], things)
    assert asked == [1, 2]
    assert [await user.ahas_perm(USE, thing) for thing in things] == [True, True]
    assert asked == [1, 2]


def test_rows_are_found_by_any_form_of_their_key_and_denied_if_gone(
    api, user, pages, access_methods
):
    access_methods(Page, **FORMS["query"])
    Page.objects.filter(pk=pages[0].pk).delete()
    for page in pages:
        page.pk = str(page.pk)
    api(user).prefetch_perms([READ], pages)
    assert [user.has_perm(READ, page) for page in pages[:3]] == [False, False, True]


@pytest.mark.parametrize(
    ("perms", "objects", "message"),
    [
        (READ, [], "Pass a list"),
        ([None], [], "must be a string"),
        ([READ], Page(), "Pass a list of objects"),
        ([READ], ["page"], "must be model instances, not"),
        ([READ], [None], "must be model instances, not"),
    ],
)
def test_bad_input_is_refused(api, user, perms, objects, message):
    with pytest.raises(TypeError, match=message):
        api(user).prefetch_perms(perms, objects)
