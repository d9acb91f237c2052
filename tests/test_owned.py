"""Stores that belong to one instance, and to no copy of it."""

import copy
import gc
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from djem_async._owned import Owned, owned


class Store(Owned):
    __slots__ = ("content",)

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.content: list[str] = []


class OtherStore(Owned):
    __slots__ = ()


class Owner:
    pass


class Row(tuple):  # noqa: SLOT001 - a store needs a place
    """Cannot be referred to weakly."""


def store_of(instance: object) -> Store:
    return owned(instance, "_store", Store)


@pytest.mark.parametrize("kind", [Owner, Row])
def test_a_store_is_made_on_first_use_and_kept(kind):
    instance = kind()
    store = store_of(instance)
    assert store_of(instance) is store
    assert store.owner() is instance
    assert store.owner() is not kind()
    assert store_of(kind()) is not store


def test_stores_of_several_kinds_have_attributes_of_their_own():
    instance = Owner()
    other = owned(instance, "_other", OtherStore)
    assert store_of(instance) is not other
    assert owned(instance, "_other", OtherStore) is other


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda instance: pickle.loads(pickle.dumps(instance))],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("kind", [Owner, Row])
def test_a_copy_starts_with_an_empty_store(kind, copied):
    instance = kind()
    store_of(instance).content.append("kept")
    twin = copied(instance)
    assert store_of(twin).content == []
    store_of(twin).content.append("of the copy")
    assert store_of(instance).content == ["kept"]


def test_a_copy_does_not_inherit_the_store_of_an_instance_that_is_gone():
    instance = Owner()
    store_of(instance).content.append("kept")
    twin = copy.copy(instance)
    del instance
    gc.collect()
    assert store_of(twin).content == []


def test_a_pickle_needs_nothing_of_the_store_to_load():
    instance = Owner()
    store_of(instance)
    assert b"Store" not in pickle.dumps(instance)
    assert b"djem_async" not in pickle.dumps(instance)


def test_a_store_does_not_keep_its_instance_alive():
    instance = Owner()
    store, alive = store_of(instance), weakref.ref(instance)
    del instance
    assert alive() is None
    assert store.owner() is None


@pytest.fixture
def hurried_threads():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class SlowStore(Owned):
    __slots__ = ()

    def __init__(self, owner: object) -> None:
        threading.Event().wait(0.01)
        super().__init__(owner)


@pytest.mark.usefixtures("hurried_threads")
def test_threads_that_ask_at_once_get_the_same_store():
    instance, start = Owner(), threading.Barrier(8)

    def first_use(_: int) -> Any:
        start.wait()
        return owned(instance, "_store", SlowStore)

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(first_use, range(8)))
    assert len({id(store) for store in stores}) == 1
