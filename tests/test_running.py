"""The checks that run in a context: recursion is refused, and nothing is left behind."""

import asyncio
import contextvars
import copy
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from djem_async._cache import permission_cache
from djem_async._running import Running, innermost
from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import PermissionRecursionError
from tests.conftest import grant
from tests.testapp.models import OtherThing, PlainUser, Thing, ThingProxy, User

pytestmark = pytest.mark.usefixtures("begins")

PERM = "testapp.use_thing"


def checking(subject: Any, perm: str = PERM, method: str = "has_perm") -> dict[str, Any]:
    """Return both forms of a method that checks something else; ``subject`` finds what."""

    def check(self: Any, argument: Any) -> Any:
        user, *args = subject(self, argument)
        found = getattr(user, method)(*([perm] if method == "has_perm" else []), *args)
        return found if method == "has_perm" else perm in found

    async def acheck(self: Any, argument: Any) -> Any:
        user, *args = subject(self, argument)
        found = await getattr(user, f"a{method}")(*([perm] if method == "has_perm" else []), *args)
        return found if method == "has_perm" else perm in found

    return {"": check, "a": acheck}


@pytest.fixture(params=["", "a"], ids=["def", "async def"])
def check_in(request, access_methods):
    """Give a model a method that checks something else, written in the one or the other form."""

    def give(model: type, subject: Any, source: str = "user", **options: Any) -> None:
        method = checking(subject, **options)[request.param]
        access_methods(model, **{f"_{source}_can_use_thing": method})

    return give


@pytest.fixture(params=[0, 1, 2])
def verbosity(request, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = request.param


@pytest.mark.usefixtures("verbosity")
def test_a_check_that_enters_itself_is_refused(api, user, thing, check_in):
    check_in(Thing, lambda self, user: (user, self))
    with pytest.raises(PermissionRecursionError) as raised:
        api(user).has_perm(PERM, thing)
    title = f"{PERM} on Thing {thing.pk!r}"
    assert str(raised.value) == (
        f"The check of {title} entered itself: {title} -> {title}."
        " An access method must not check what it is deciding."
    )
    assert isinstance(raised.value, RecursionError)


@pytest.mark.usefixtures("verbosity")
def test_the_chain_is_named(api, user, thing, check_in):
    others = [Thing.objects.create() for _ in range(2)]
    following = {thing.pk: others[0], others[0].pk: others[1], others[1].pk: thing}
    check_in(Thing, lambda self, user: (user, following[self.pk]))
    with pytest.raises(PermissionRecursionError) as raised:
        api(user).has_perm(PERM, thing)
    titles = [f"{PERM} on Thing {obj.pk!r}" for obj in (thing, *others, thing)]
    assert f" entered itself: {' -> '.join(titles)}. " in str(raised.value)


@pytest.mark.usefixtures("verbosity")
def test_another_instance_of_the_same_object_is_the_same_check(api, user, thing, check_in):
    check_in(Thing, lambda self, user: (user, copy.copy(self)))
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)


def test_another_instance_of_the_same_user_is_the_same_check(api, user, thing, check_in):
    check_in(Thing, lambda self, user: (copy.copy(user), self))
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)


def test_an_unsaved_object_is_recognized(api, user, check_in):
    check_in(Thing, lambda self, user: (user, self))
    with pytest.raises(PermissionRecursionError, match="on Thing None -> "):
        api(user).has_perm(PERM, Thing())


@pytest.mark.usefixtures("verbosity")
def test_recursion_by_a_group_method_is_refused(api, user, thing, check_in):
    check_in(Thing, lambda self, groups: (user, self), source="group")
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)


@pytest.mark.usefixtures("verbosity")
@pytest.mark.parametrize(
    "method", ["get_all_permissions", "get_user_permissions", "get_group_permissions"]
)
def test_recursion_by_a_permission_set_is_refused(api, user, thing, check_in, method):
    source = "group" if method == "get_group_permissions" else "user"
    check_in(Thing, lambda self, _: (user, self), source=source, method=method)
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)
    with pytest.raises(PermissionRecursionError):
        getattr(api(user), method)(thing)


def test_recursion_through_the_backend_is_refused(api, thing, check_in):
    user, backend = PlainUser(pk=1, name="plain"), ObjectPermissionsBackend()
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    check_in(Thing, lambda self, user: (user, self))
    for check in (api(user).has_perm, lambda *args: api(backend).has_perm(user, *args)):
        with pytest.raises(PermissionRecursionError):
            check(PERM, thing)


def test_recursion_at_the_model_level_is_refused(api, user, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.AsksTheUser"]
    with pytest.raises(PermissionRecursionError, match=f"{PERM} -> {PERM}"):
        api(user).has_perm(PERM)


class AsksTheUser:
    def has_perm(self, user: User, perm: str, obj: Any = None) -> bool:
        return user.has_perm(perm, obj)


def test_what_asks_for_no_permission_is_not_named(api, user, thing, check_in):
    check_in(Thing, lambda self, user: (user, self), method="get_all_permissions")
    title = f"{PERM} on Thing {thing.pk!r}"
    with pytest.raises(PermissionRecursionError, match=f"itself: {title} -> {title}[.]"):
        api(user).has_perm(PERM, thing)


def test_a_check_that_began_at_the_backend_is_named_once(api, user, thing, check_in):
    other = Thing.objects.create()
    check_in(Thing, lambda self, user: (user, other if self == thing else thing))
    titles = [f"{PERM} on Thing {obj.pk!r}" for obj in (thing, other, thing)]
    with pytest.raises(PermissionRecursionError, match=f"itself: {' -> '.join(titles)}[.]"):
        api(ObjectPermissionsBackend()).has_perm(user, PERM, thing)


def test_recursion_across_a_thread_is_refused(user, thing, access_methods):
    async def in_a_thread(self: Any, user: Any) -> Any:
        return await sync_to_async(user.has_perm)(PERM, self)

    access_methods(Thing, _user_can_use_thing=in_a_thread)
    with pytest.raises(PermissionRecursionError):
        async_to_sync(user.ahas_perm)(PERM, thing)


def test_recursion_across_a_task_is_refused(user, thing, access_methods):
    async def in_a_task(self: Any, user: Any) -> Any:
        (granted,) = await asyncio.gather(user.ahas_perm(PERM, self))
        return granted

    access_methods(Thing, _user_can_use_thing=in_a_task)
    with pytest.raises(PermissionRecursionError):
        async_to_sync(user.ahas_perm)(PERM, thing)


# What is no recursion


@pytest.mark.usefixtures("verbosity")
@pytest.mark.parametrize("granted", [True, False])
def test_checks_of_something_else_are_fine(api, user, thing, check_in, access_methods, granted):
    other_user = grant(User.objects.create_user("other"), PERM, "testapp.change_otherthing")
    other_thing = Thing.objects.create(name="other")
    unrelated = OtherThing.objects.create(pk=thing.pk)
    proxy = ThingProxy.objects.get(pk=thing.pk)
    user = grant(user, "testapp.change_otherthing", "testapp.change_thing")
    access_methods(ThingProxy, _user_can_use_thing=lambda self, user: granted)
    access_methods(OtherThing, _user_can_use_thing=lambda self, user: granted)
    for subject, perm, expected in (
        (lambda self, user: (user,), PERM, True),  # the model level
        (lambda self, user: (user, self), "testapp.change_thing", True),
        (lambda self, user: (user, proxy), PERM, granted),
        (lambda self, user: (user, unrelated), PERM, granted),
        (lambda self, asked: (other_user, self) if asked is user else (asked,), PERM, True),
        (lambda self, user: (user, other_thing) if self == thing else (user,), PERM, True),
    ):
        check_in(Thing, subject, perm=perm)
        user.clear_perm_cache()
        other_user.clear_perm_cache()
        assert api(user).has_perm(PERM, thing) is expected


def test_a_check_may_be_repeated(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    unsaved = Thing()
    for _ in range(3):
        assert api(user).has_perm(PERM, unsaved)


def test_a_check_may_be_repeated_after_a_recursion(api, user, thing, access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: user.has_perm(PERM, self))
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    assert api(user).has_perm(PERM, thing) is True


def test_a_method_that_survives_the_recursion_decides(api, user, thing, access_methods):
    def careful(self: Any, user: Any) -> bool:
        try:
            return user.has_perm(PERM, self)
        except PermissionRecursionError:
            return False

    access_methods(Thing, _user_can_use_thing=careful)
    assert api(user).has_perm(PERM, thing) is False


async def test_a_task_that_outlives_the_check_may_check_the_same(access_methods):
    user, thing = User(pk=1, is_active=True), Thing()
    user._user_perm_cache, user._group_perm_cache = {PERM}, set()
    tasks: list[asyncio.Task[bool]] = []
    decided = asyncio.Event()

    async def later(obj: Any, user: Any) -> bool:
        await decided.wait()
        return await user.ahas_perm(PERM, obj)

    async def start(self: Any, user: Any) -> bool:
        if not tasks:
            tasks.append(asyncio.create_task(later(self, user)))
        return True

    access_methods(Thing, _user_can_use_thing=start)
    assert await user.ahas_perm(PERM, thing)
    decided.set()
    assert await asyncio.gather(*tasks) == [True]


async def test_gathered_checks_of_the_same_are_no_recursion(access_methods):
    user, thing = User(pk=1, is_active=True), Thing()
    user._user_perm_cache, user._group_perm_cache = {PERM}, set()

    async def slow(self: Any, user: Any) -> bool:
        await asyncio.sleep(0)
        return True

    access_methods(Thing, _user_can_use_thing=slow)
    assert await asyncio.gather(*(user.ahas_perm(PERM, thing) for _ in range(3))) == [True] * 3


# What is left behind


@pytest.mark.parametrize("error", [None, ValueError, PermissionRecursionError])
def test_nothing_is_running_after_a_check(api, user, thing, access_methods, error):
    def method(self: Any, user: Any) -> bool:
        if error:
            raise error
        return True

    access_methods(Thing, _user_can_use_thing=method)
    with suppress(ValueError, PermissionRecursionError):
        api(user).has_perm(PERM, thing)
    assert innermost.get() is None


async def test_a_context_keeps_no_user_and_no_object_alive(access_methods):
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)

    async def check() -> list[Any]:
        user, thing = User(pk=1, is_active=True), Thing()
        user._user_perm_cache, user._group_perm_cache = {PERM}, set()
        assert await user.ahas_perm(PERM, thing)
        await sync_to_async(user.has_perm)(PERM, thing)
        return [weakref.ref(user), weakref.ref(thing)]

    references = [reference for _ in range(3) for reference in await check()]
    gc.collect()
    assert [reference() for reference in references] == [None] * 6
    assert innermost.get() is None


def test_the_context_of_a_task_keeps_no_user_and_no_object_alive():
    user, thing = User(pk=1), Thing(pk=1)
    references = weakref.ref(user), weakref.ref(thing)
    with Running(user, "user", PERM, thing):
        context = contextvars.copy_context()
    del user, thing
    gc.collect()
    assert innermost in context
    assert [reference() for reference in references] == [None, None]


def test_a_check_that_has_ended_keeps_no_context_alive():
    class Value:
        pass

    def begin(value: Value) -> Running:
        contextvars.ContextVar[Value]("value").set(value)
        return Running(User(), "user")

    value = Value()
    reference = weakref.ref(value)
    context = contextvars.copy_context()
    running = context.run(begin, value)
    context.run(running.end)
    del context, value
    gc.collect()
    assert reference() is None
    assert not running.is_running


def test_what_runs_on_after_its_check_keeps_user_and_object_until_its_end():
    user, thing = User(pk=1), Thing(pk=1)
    references = weakref.ref(user), weakref.ref(thing)
    running = Running(user, "user", PERM, thing)

    def alive() -> list[bool]:
        gc.collect()
        return [reference() is not None for reference in references]

    def run_on() -> None:
        running.end()
        assert running.is_running
        assert alive() == [True, True]

    del user, thing
    Running.hold(running, lambda: None)
    assert alive() == [True, True]
    Running.hold(running, run_on)
    assert not running.is_running
    assert alive() == [False, False]


def test_a_check_that_is_dropped_is_closed_in_another_context():
    """The garbage collector runs anywhere."""
    user = User(pk=1, is_active=True)
    running = contextvars.copy_context().run(Running, user, "user", PERM)
    assert running.is_running
    running.end()
    assert not running.is_running
    assert innermost.get() is None


def test_a_chain_skips_the_checks_that_have_ended():
    user = User(pk=1)
    with Running(user, "user", PERM, Thing(pk=1)) as outer:
        context = contextvars.copy_context()
    assert not outer.is_running
    inner = context.run(Running, user, "user", PERM)
    assert inner._outer is None


def test_a_chain_has_no_recursion_to_a_check_that_has_ended():
    """A task that a check has started may go on, and check the same."""
    user, thing = User(pk=1), Thing(pk=1)
    with Running(user, "user", PERM, thing):
        context = contextvars.copy_context()
        context.run(Running, user, "user", PERM)
        with pytest.raises(PermissionRecursionError):
            context.run(Running, user, "user", PERM, thing)
    assert context.run(Running, user, "user", PERM, thing).is_running


# The generation


def test_a_check_holds_the_generation_it_began_with():
    user, other = User(), User()
    cache, of_other = permission_cache(user), permission_cache(other)
    assert Running.generation_for(cache) is cache.generation
    with Running(user, "user") as outer:
        before = cache.generation
        assert Running.generation_for(cache) is outer.generation is before
        cache.clear()
        assert Running.generation_for(cache) is before
        with Running(other, "user"):
            # Of the user, not of whichever check is innermost.
            assert Running.generation_for(cache) is before
            assert Running.generation_for(of_other) is of_other.generation
        with Running(user, "user") as inner:
            assert Running.generation_for(cache) is inner.generation is cache.generation
            assert inner.generation is not before
        context = contextvars.copy_context()
    assert Running.generation_for(cache) is cache.generation
    assert context.run(Running.generation_for, cache) is cache.generation


@pytest.fixture
def in_thread():
    """Run a function in a thread, for the check of this context, which may end meanwhile."""
    with ThreadPoolExecutor(1) as pool:

        def start(work: Any) -> Any:
            def begin() -> Any:
                begun.set()
                return work()

            begun = threading.Event()
            running = Running.current()
            done = pool.submit(contextvars.copy_context().run, Running.hold, running, begin)
            assert begun.wait(10)
            return done

        yield start


def test_code_in_a_thread_keeps_to_the_generation_of_its_check(in_thread):
    """Also if the check has been cancelled meanwhile: a thread cannot be."""
    user, ended = User(), threading.Event()
    cache = permission_cache(user)

    def work() -> None:
        assert ended.wait(10)
        assert running.is_running
        assert Running.current() is running
        assert Running.generation_for(cache) is running.generation
        user._perm_cache = {PERM}

    with Running(user, "user") as running:
        done = in_thread(work)
    cache.clear()
    ended.set()
    done.result()
    assert not running.is_running
    assert not hasattr(user, "_perm_cache")
    assert Running.generation_for(cache) is cache.generation


def test_code_in_a_thread_may_go_to_threads_itself(in_thread):
    ended = threading.Event()

    def work() -> bool:
        Running.hold(Running.current(), len, "")
        assert ended.wait(10)
        return running.is_running

    with Running(User(), "user") as running:
        done = in_thread(work)
    ended.set()
    assert done.result() is True
    assert not running.is_running


def test_a_check_that_has_ended_is_not_found():
    user = User()
    cache = permission_cache(user)
    with Running(user, "user") as outer:
        with Running(user, "backend") as inner:
            assert Running.current() is inner
            context = contextvars.copy_context()
        assert context.run(Running.current) is outer
        assert not inner.is_running
    assert context.run(Running.current) is None
    cache.clear()
    assert context.run(Running.generation_for, cache) is cache.generation


def test_a_check_may_end_in_another_context_than_it_began_in():
    """As one does that began in a thread, and has to await something then."""
    with Running(User(), "user") as outer:
        inner = contextvars.copy_context().run(Running, User(), "user")
        innermost.set(inner)  # as `asgiref` does when the thread has returned
        inner.end()
        assert innermost.get() is outer
        # A coroutine that was dropped is closed in whichever context that happens.
        dropped = contextvars.copy_context().run(Running, User(), "user")
        dropped.end()
        assert innermost.get() is outer


def test_a_plain_method_may_return_an_awaitable_that_checks_further(user, thing, access_methods):
    other = OtherThing(pk=1)

    async def decide(thing: Thing, asking: User) -> bool:
        with pytest.raises(PermissionRecursionError):
            await asking.ahas_perm(PERM, thing)
        return await asking.ahas_perm(PERM, other)

    async def check() -> None:
        assert await user.ahas_perm(PERM, thing) is True
        assert innermost.get() is None

    access_methods(Thing, _user_can_use_thing=lambda thing, asking: decide(thing, asking))
    for _ in range(2):
        user.clear_perm_cache()
        async_to_sync(check)()


def test_a_call_that_was_due_when_its_check_was_cancelled_keeps_to_its_generation():
    """A thread may be interrupted between taking the call and making it."""
    user = User()
    cache = permission_cache(user)
    with Running(user, "user") as running:
        context = contextvars.copy_context()
    cache.clear()
    found = context.run(Running.hold, running, Running.generation_for, cache)
    assert found is running.generation
    assert found is not cache.generation
    assert not running.is_running


def test_code_that_works_for_no_check_is_just_called():
    assert Running.hold(None, len, "abc") == 3
