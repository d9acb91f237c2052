"""A check that was not awaited has no truth value, and is a coroutine in all other respects."""

import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import pickle
import sys
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth import get_backends

from djem_async._driving import twin_of
from djem_async._pending import Pending
from tests.testapp.models import Thing, User


class Question:
    def answer(self, value: Any = 42) -> Any:
        return value

    @twin_of("answer")
    async def aanswer(self, value: Any = 42) -> Any:
        await asyncio.sleep(0)
        return value


ask = Question().aanswer


async def by_await() -> Any:
    return await ask()


async def by_gather() -> Any:
    (answer,) = await asyncio.gather(ask())
    return answer


async def by_wait_for() -> Any:
    return await asyncio.wait_for(ask(), 5)


async def by_timeout() -> Any:
    async with asyncio.timeout(5):
        return await ask()


async def by_create_task() -> Any:
    return await asyncio.create_task(ask(), name="asking")


async def by_create_task_with_a_context() -> Any:
    return await asyncio.create_task(ask(), context=contextvars.copy_context())


async def by_ensure_future() -> Any:
    return await asyncio.ensure_future(ask())


async def by_task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask())
    return task.result()


async def by_shield() -> Any:
    return await asyncio.shield(ask())


async def by_as_completed() -> Any:
    (future,) = asyncio.as_completed([ask()])
    return await future


async def by_run_coroutine_threadsafe() -> Any:
    loop = asyncio.get_running_loop()
    run = functools.partial(asyncio.run_coroutine_threadsafe, ask(), loop)
    return await asyncio.wrap_future(await asyncio.to_thread(run))


@pytest.mark.parametrize(
    "use",
    [
        by_await,
        by_gather,
        by_wait_for,
        by_timeout,
        by_create_task,
        by_create_task_with_a_context,
        by_ensure_future,
        by_task_group,
        by_shield,
        by_as_completed,
        by_run_coroutine_threadsafe,
    ],
)
async def test_whatever_takes_a_coroutine_takes_it(use):
    assert await use() == 42


def test_it_can_be_the_main_task():
    # With the checks of asyncio's debug mode.
    assert asyncio.run(ask(), debug=True) == 42


async def test_the_task_of_a_check_can_be_printed():
    # asyncio prints tasks in its logs and in debug mode.
    task = asyncio.create_task(ask(), name="asking")
    assert "asking" in repr(task)
    await asyncio.sleep(0)
    assert "Question.aanswer" in repr(task)
    assert await task == 42
    assert "Question.aanswer" in repr(task)


def test_async_to_sync_takes_the_method():
    assert async_to_sync(ask)(43) == 43


def test_it_is_a_coroutine():
    pending = ask()
    assert isinstance(pending, Coroutine)
    assert isinstance(pending, Awaitable)
    assert asyncio.iscoroutine(pending)
    assert inspect.isawaitable(pending)
    pending.close()


def test_its_function_is_a_coroutine_function():
    assert iscoroutinefunction(ask)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(ask)
    else:
        assert asyncio.iscoroutinefunction(ask)


def test_it_looks_like_its_coroutine_to_debuggers():
    pending = ask()
    assert pending.__name__ == "aanswer"
    assert pending.__qualname__ == "Question.aanswer"
    assert pending.cr_await is None
    assert inspect.iscode(pending.cr_code)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        pending.no_such_attribute  # noqa: B018
    pending.close()


def forgotten_if(pending: Any) -> Any:
    if pending:
        return "granted"
    return "denied"


FORGOTTEN: dict[str, Callable[[Any], Any]] = {
    "if": forgotten_if,
    "if not": lambda pending: "denied" if not pending else "granted",
    "not": lambda pending: not pending,
    "and": lambda pending: pending and "granted",
    "or": lambda pending: pending or "denied",
    "bool": bool,
    "all": lambda pending: all([pending]),
    "any": lambda pending: any([pending]),
    "ternary": lambda pending: "granted" if pending else "denied",
    "filter": lambda pending: list(filter(None, [pending])),
    "while": lambda pending: next("granted" for _ in iter(lambda: bool(pending), False)),
    "assert": lambda pending: forgotten_assert(pending),
    "==": lambda pending: pending == True,  # noqa: E712
    "!=": lambda pending: pending != False,  # noqa: E712
    "in": lambda pending: pending in [True],  # noqa: FURB171
}


def forgotten_assert(pending: Any) -> None:
    assert pending


@pytest.mark.parametrize("form", FORGOTTEN)
def test_its_truth_value_is_an_error_that_names_the_method(form):
    with pytest.raises(
        TypeError, match=r"^Question\.aanswer\(\) was not awaited. Write `await` in front of it\.$"
    ):
        FORGOTTEN[form](ask())


CHECKS: dict[str, Callable[[Any, Any], Any]] = {
    "ahas_perm": lambda user, thing: user.ahas_perm("testapp.use_thing"),
    "ahas_perm of an object": lambda user, thing: user.ahas_perm("testapp.use_thing", thing),
    "ahas_perms": lambda user, thing: user.ahas_perms(["testapp.use_thing"], thing),
    "ahas_module_perms": lambda user, thing: user.ahas_module_perms("testapp"),
    "backend": lambda user, thing: get_backends()[1].ahas_perm(user, "testapp.use_thing", thing),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("form", FORGOTTEN)
def test_a_check_that_was_not_awaited_does_not_grant(user, thing, form, check):
    with pytest.raises(TypeError, match=r"has_(perms?|module_perms)\(\) was not awaited"):
        FORGOTTEN[form](CHECKS[check](user, thing))


@pytest.mark.parametrize("check", CHECKS)
def test_an_awaited_check_is_a_bool(user, thing, check):
    async def awaited() -> Any:
        return await CHECKS[check](user, thing)

    assert async_to_sync(awaited)() is True


def test_an_error_for_its_truth_value_is_enough():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TypeError):
            bool(ask())
        gc.collect()
    assert caught == []


async def test_asking_for_the_truth_value_does_not_end_a_check_that_has_begun():
    pending = ask()

    async def impatient() -> None:
        with pytest.raises(TypeError, match="was not awaited"):
            bool(pending)

    answer, _ = await asyncio.gather(pending, impatient())
    assert answer == 42


@pytest.mark.parametrize("is_overridden", [False, True])
def test_a_check_warns_once_if_nobody_awaits_it_and_not_if_its_truth_value_is_asked(
    user, monkeypatch, is_overridden
):
    if is_overridden:
        monkeypatch.setattr(type(user), "has_perm", lambda *args: False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TypeError, match="was not awaited"):
            bool(user.ahas_perm("testapp.use_thing"))
        gc.collect()
        assert caught == []
        user.ahas_perm("testapp.use_thing")
        gc.collect()
    (warning,) = caught
    assert str(warning.message) == "coroutine 'OLPMixin.ahas_perm' was never awaited"


def test_it_equals_itself_alone():
    pending, other = ask(), ask()
    assert pending == pending
    assert pending != other
    assert len({pending, other, pending}) == 2
    pending.close()
    other.close()


def test_python_still_warns_of_one_that_nobody_awaited():
    with pytest.warns(RuntimeWarning, match=r"'Question\.aanswer' was never awaited"):
        ask()


async def test_it_can_be_awaited_once():
    pending = ask()
    assert await pending == 42
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await pending


class Waiting:
    """Something to wait for, and a record of how that ended."""

    def __init__(self) -> None:
        self.caught: list[BaseException] = []

    def __await__(self) -> Any:
        try:
            return (yield "waiting")
        except BaseException as error:
            self.caught.append(error)
            raise


async def waiting_for(waiting: Waiting) -> Any:
    return await waiting


def test_it_can_be_driven_by_hand():
    pending = Pending(waiting_for(Waiting()))
    assert pending.send(None) == "waiting"
    with pytest.raises(StopIteration) as end:
        pending.send(42)
    assert end.value.value == 42


def test_an_exception_can_be_thrown_into_it():
    waiting, error = Waiting(), ValueError("x")
    pending = Pending(waiting_for(waiting))
    pending.send(None)
    with pytest.raises(ValueError, match="x") as raised:
        pending.throw(error)
    assert raised.value is error
    assert waiting.caught == [error]


@pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")
def test_an_exception_can_be_thrown_into_it_in_three_parts():
    waiting, error = Waiting(), ValueError("x")
    pending = Pending(waiting_for(waiting))
    pending.send(None)
    with pytest.raises(ValueError, match="x"):
        pending.throw(ValueError, error, None)
    assert waiting.caught == [error]


def test_what_was_thrown_into_it_goes_when_it_is_let_go():
    """It must not keep itself alive by its traceback."""

    class Thrown(Exception):
        pass

    error = Thrown()
    gone = weakref.ref(error)
    pending = Pending(asyncio.sleep(0))
    pending.send(None)
    gc.disable()
    try:
        with suppress(Thrown):
            pending.throw(error)
        del error, pending
        assert gone() is None
    finally:
        gc.enable()


def test_closing_it_ends_it():
    waiting = Waiting()
    pending = Pending(waiting_for(waiting))
    pending.send(None)
    pending.close()
    assert [type(error) for error in waiting.caught] == [GeneratorExit]


async def test_cancelling_its_task_cancels_it():
    task = asyncio.create_task(Pending(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("other", [False, True, None, 0, "", 42])
def test_it_cannot_be_compared_with_an_answer(other):
    pending = ask()
    with pytest.raises(TypeError, match="was not awaited"):
        assert pending != other


def test_asyncio_may_ask_whether_a_task_has_a_coroutine():
    # It does so to print a task, from Python 3.12; whoever else asks gets an error.
    pending = ask()
    assert eval("bool(pending)", {"__name__": "asyncio.base_tasks", "pending": pending}) is True
    with pytest.raises(TypeError, match="was not awaited"):
        bool(pending)


def test_a_check_that_is_known_can_be_awaited_once_and_looks_like_any_other(user):
    @async_to_sync
    async def run() -> None:
        for _ in range(2):
            pending = user.ahas_perm("testapp.use_thing")
            assert await pending is True
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                await pending
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                pending.send(None)
            pending.close()
            assert pending.cr_frame is None
            assert pending.__qualname__ == "OLPMixin.ahas_perm"
        pending = user.ahas_perm("testapp.use_thing")
        assert pending.__qualname__ == "OLPMixin.ahas_perm"
        assert pending.cr_frame is not None
        assert await pending is True

    run()


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("name", ["is_active", "is_superuser", "_state"])
def test_a_check_that_fails_at_once_has_been_awaited(user, name, monkeypatch):
    """Whatever fails: nothing is looked at again when the check is collected."""
    calls: list[str] = []

    def fail(self: Any) -> Any:
        calls.append(name)
        raise Unusual

    obj = Thing(pk=1, name="x")
    monkeypatch.setattr(Thing if name == "_state" else User, name, property(fail), raising=False)
    pending = user.ahas_perm("testapp.use_thing", obj)
    with pytest.raises(Unusual):
        async_to_sync(awaited)(pending)
    del calls[:]
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        async_to_sync(awaited)(pending)
    del pending
    gc.collect()
    assert calls == []


def test_a_check_that_cannot_begin_has_ended(user, monkeypatch):
    def fail(*_args: Any) -> Any:
        raise Unusual

    monkeypatch.setattr("djem_async.models._check", fail)
    pending = user.ahas_perm("testapp.use_thing")
    with pytest.raises(Unusual):
        pending.send(None)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        pending.send(None)


async def awaited(pending: Any) -> Any:
    return await pending


def test_it_has_no_dictionary(user):
    for check in (ask(), user.ahas_perm("a.b")):
        assert "__dict__" not in dir(type(check))
        check.close()


class Own(Coroutine[Any, Any, Any]):
    """A coroutine that Python has not made."""

    def send(self, value: Any) -> Any:
        raise StopIteration(value)

    def throw(self, *args: Any) -> Any:
        raise args[0]

    def close(self) -> None:
        pass

    def __await__(self) -> Any:
        yield


def test_any_coroutine_has_no_truth_value_in_it():
    with pytest.raises(TypeError, match="not awaited"):
        bool(Pending(Own()))


@pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")
def test_a_traceback_that_is_thrown_into_it_is_kept():
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as first:
        fail()
    pending = Pending(asyncio.sleep(0))
    pending.send(None)
    with pytest.raises(ValueError) as second:  # noqa: PT011 - it has no text
        pending.throw(ValueError, None, first.tb)
    assert "fail" in [entry.name for entry in second.traceback]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_copied(user, duplicate):
    for pending in (ask(), user.ahas_perm("testapp.use_thing")):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(pending)
        pending.close()
    gc.collect()


def test_a_known_check_may_be_driven_by_hand(user):
    assert user.has_perm("testapp.use_thing")
    for drive in (Pending.send, lambda pending, value: pending.send(value)):
        with pytest.raises(StopIteration) as end:
            drive(user.ahas_perm("testapp.use_thing"), None)
        assert end.value.value is True
    pending = user.ahas_perm("testapp.use_thing")
    with pytest.raises(ValueError, match="x"):
        pending.throw(ValueError("x"))
