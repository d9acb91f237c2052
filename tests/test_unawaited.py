"""A check that nobody awaited raises instead of granting, and is a coroutine in every other way."""

import asyncio
import contextvars
import copy
import gc
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction

from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import PERM, known_user
from tests.testapp.models import Thing, User

CHECKS: dict[str, Callable[[Any, Any], Any]] = {
    "ahas_perm": lambda user, thing: user.ahas_perm(PERM),
    "ahas_perm of an object": lambda user, thing: user.ahas_perm(PERM, thing),
    "ahas_perms": lambda user, thing: user.ahas_perms([PERM], thing),
    "backend": lambda user, thing: ObjectPermissionsBackend().ahas_perm(user, PERM, thing),
}


@pytest.fixture(params=CHECKS)
def make(request: pytest.FixtureRequest, user: User, thing: Thing) -> Callable[[], Any]:
    """Begin a check that would grant."""
    return lambda: CHECKS[request.param](user, thing)


FORGOTTEN: dict[str, Callable[[Any], Any]] = {
    "if": lambda check: "granted" if check else "denied",
    "not": lambda check: not check,
    "==": lambda check: check == True,  # noqa: E712
    "!=": lambda check: check != False,  # noqa: E712
    "in": lambda check: check in [True],  # noqa: FURB171
}


@pytest.mark.parametrize("form", FORGOTTEN)
@pytest.mark.parametrize("is_known", [False, True])
def test_unawaited_check_raises_and_names_the_method(make, form, is_known):
    if is_known:
        assert async_to_sync(awaited)(make()) is True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TypeError, match=r"\.ahas_perms?\(\) was not awaited"):
            FORGOTTEN[form](make())
        gc.collect()
    assert caught == []  # one error is enough


def test_python_warns_of_a_check_that_nobody_awaited(make):
    with pytest.warns(RuntimeWarning, match=r"'\w+\.ahas_perms?' was never awaited") as caught:
        make()
    assert len(caught) == 1


async def awaited(check: Any) -> Any:
    return await check


async def gathered(check: Any) -> Any:
    (answer,) = await asyncio.gather(check)
    return answer


async def in_a_printed_task(check: Any) -> Any:
    task = asyncio.create_task(check, context=contextvars.copy_context())
    assert "ahas_perm" in repr(task)  # as asyncio prints it in its logs
    return await task


AWAIT = {
    "await": awaited,
    "gather": gathered,
    "wait_for": lambda check: asyncio.wait_for(check, 10),
    "create_task": in_a_printed_task,
    "shield": asyncio.shield,
}


@pytest.mark.parametrize("how", AWAIT)
def test_awaited_check_is_a_bool(make, how):
    async def main() -> Any:
        return [await AWAIT[how](make()) for _ in range(2)]

    assert async_to_sync(main)() == [True, True]


@pytest.mark.parametrize("name", ["ahas_perm", "ahas_perms"])
def test_method_is_a_coroutine_function(user, thing, name):
    method = getattr(user, name)
    assert iscoroutinefunction(method)
    assert sys.version_info < (3, 12) or inspect.iscoroutinefunction(method)
    perm = PERM if name == "ahas_perm" else [PERM]
    assert async_to_sync(method)(perm, thing) is True


def test_check_is_a_coroutine_that_equals_itself_alone(make):
    check, other = make(), make()
    assert isinstance(check, Coroutine)
    assert asyncio.iscoroutine(check)
    assert inspect.isawaitable(check)
    assert check == check
    assert check != other
    assert len({check, other, check}) == 2
    check.close()
    other.close()


def test_check_begins_when_it_is_awaited(user, make):
    async def main() -> None:
        assert await make() is True
        check = make()
        user.is_active = False
        assert await check is False

    async_to_sync(main)()


def test_check_can_be_awaited_once(make):
    async def main() -> None:
        for _ in range(2):  # the second one is answered from the cache
            check = make()
            assert await check is True
            for again in (awaited(check), check):
                with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                    await again
            check.close()

    async_to_sync(main)()


async def test_check_can_be_driven_by_hand_and_asked_while_it_runs(access_methods):
    async def wait(thing: Thing, user: User) -> bool:
        try:
            await asyncio.sleep(0)
        except BaseException as error:
            ended.append(type(error))
            raise
        return True

    user, thing, ended, error = known_user(), Thing(), list[Any](), ValueError("x")
    access_methods(Thing, _user_can_use_thing=wait)

    def begun() -> Any:
        check = user.ahas_perm(PERM, thing)
        assert check.send(None) is None
        with pytest.raises(TypeError, match="was not awaited"):
            bool(check)
        return check

    with pytest.raises(StopIteration) as end:
        begun().send(None)
    assert end.value.value is True
    with pytest.raises(ValueError, match="x") as raised:
        begun().throw(error)
    assert raised.value is error
    begun().close()
    assert ended == [ValueError, GeneratorExit]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_check_cannot_be_copied_or_pickled(make, duplicate):
    check = make()
    with pytest.raises(TypeError):
        duplicate(check)
    check.close()


async def test_asyncio_may_ask_whether_a_task_has_a_coroutine():
    names = {"__name__": "asyncio.base_tasks", "check": known_user().ahas_perm(PERM)}
    assert (eval("bool(check)", names), await names["check"]) == (True, True)
