"""What stands behind lazy objects and behind strings of other classes."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe

from djem_async._driving import arun, run
from djem_async._lazy import is_lazy, loaded, plain_text, unwrapped
from tests.testapp.models import Thing

PERM = "testapp.use_thing"


class Claims:
    """Says that it is of another class."""

    __class__ = SimpleLazyObject  # type: ignore[assignment]


@pytest.mark.parametrize("instance", [None, 1, "text", Claims(), Thing(), SimpleLazyObject])
def test_what_is_not_lazy_stays_as_it_is(api, instance):
    assert is_lazy(instance) is False
    assert unwrapped(instance) is instance
    assert drive(api, loaded(instance)) is instance


def drive(api: Any, flow: Any) -> Any:
    return run(flow) if api.mode == "sync" else async_to_sync(arun)(flow)


@pytest.mark.parametrize("found", [None, 0, "", Thing()])
@pytest.mark.parametrize("depth", [1, 3])
def test_what_stands_behind_lazy_objects_is_found(api, found, depth):
    lazy = found
    for _ in range(depth):
        lazy = SimpleLazyObject(lambda inner=lazy: inner)
    assert is_lazy(lazy) is True
    assert drive(api, loaded(lazy)) is found
    assert unwrapped(lazy) is found  # loaded by now


async def test_it_is_loaded_in_a_thread_by_the_async_api():
    assert await arun(loaded(SimpleLazyObject(threading.get_ident))) != threading.get_ident()


def test_an_error_of_loading_propagates(api):
    def fail() -> Any:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        drive(api, loaded(SimpleLazyObject(fail)))


class Perm(StrEnum):
    USE = PERM


class Shouting(str):
    """Shows another text than it has, and equals another."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()

    def __eq__(self, other: object) -> bool:
        return str(self) == other

    def __hash__(self) -> int:
        return hash(str(self))


@pytest.mark.parametrize("text", [PERM, Perm.USE, mark_safe(PERM), Shouting(PERM)])
def test_a_string_of_any_class_becomes_the_plain_one(text):
    plain = plain_text(text)
    assert type(plain) is str
    assert plain == PERM


@pytest.mark.parametrize("other", [None, 1, b"bytes", lazystr(PERM), object()])
def test_what_is_no_string_stays_as_it_is(other):
    assert plain_text(other) is other


def test_a_lazy_object_is_checked_as_the_one_behind_it(api, user, thing, access_methods):
    asked: list[Any] = []
    access_methods(Thing, _user_can_use_thing=lambda self, user: asked.append(self) or True)
    lazy = SimpleLazyObject(lambda: thing)
    for _ in range(2):
        assert api(user).has_perm(PERM, lazy) is True
        assert api(user).has_perm(Perm.USE, lazy) is True
    assert len(asked) == 1
    assert asked[0] is thing


def test_a_lazy_none_is_no_object_but_not_the_model_level_either(api, user):
    assert api(user).has_perm(PERM) is True
    for _ in range(2):
        assert api(user).has_perm(PERM, SimpleLazyObject(lambda: None)) is False
