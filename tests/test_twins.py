"""Which form of a method to trust: the one defined nearest to the class."""

import functools
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction

from djem_async._twins import forms, is_async, required_forms


class Neither:
    pass


class Sync:
    def ask(self) -> str:
        return "sync"


class Async:
    async def aask(self) -> str:
        return "async"


class Both(Sync, Async):
    def ask(self) -> str:
        return "both: sync"

    async def aask(self) -> str:
        return "both: async"


class SyncAgain(Both):
    def ask(self) -> str:
        return "again: sync"


class AsyncAgain(Both):
    async def aask(self) -> str:
        return "again: async"


class Heir(SyncAgain):
    pass


class BothAfterAll(SyncAgain):
    def ask(self) -> str:
        return "after all: sync"

    async def aask(self) -> str:
        return "after all: async"


class SyncBeforeAsync(Sync, Async):
    pass


class AsyncBeforeSync(Async, Sync):
    pass


def names(found: tuple[Any, Any]) -> tuple[str | None, str | None]:
    sync, native = (form and form.__qualname__ for form in found)
    return sync, native


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Neither, (None, None)),
        (Sync, ("Sync.ask", None)),
        (Async, (None, "Async.aask")),
        (Both, ("Both.ask", "Both.aask")),
        (SyncAgain, ("SyncAgain.ask", None)),
        (AsyncAgain, (None, "AsyncAgain.aask")),
        (Heir, ("SyncAgain.ask", None)),
        (BothAfterAll, ("BothAfterAll.ask", "BothAfterAll.aask")),
        (SyncBeforeAsync, ("Sync.ask", None)),
        (AsyncBeforeSync, (None, "Async.aask")),
    ],
)
def test_the_form_defined_nearest_wins(kind, expected):
    assert names(forms(kind(), "ask", "aask")) == expected


@pytest.mark.parametrize("name", ["ask", "aask"])
def test_an_attribute_of_the_instance_is_nearest(name):
    instance = Both()
    setattr(instance, name, replaced := lambda: None)
    expected = (replaced, None) if name == "ask" else (None, replaced)
    assert forms(instance, "ask", "aask") == expected


def test_methods_are_bound():
    instance = Both()
    ask, aask = forms(instance, "ask", "aask")
    assert ask.__self__ is aask.__self__ is instance


def test_an_instance_may_have_no_attributes_of_its_own():
    class Slotted:
        __slots__ = ()

        def ask(self) -> None: ...

    ask, aask = forms(Slotted(), "ask", "aask")
    assert ask is not None
    assert aask is None


def test_methods_made_on_demand_are_found():
    class OnDemand:
        def __getattr__(self, name: str) -> Any:
            if name == "ask":
                return len
            raise AttributeError(name)

    assert forms(OnDemand(), "ask", "aask") == (len, None)


@pytest.mark.parametrize("made_up", ["ask", "aask"])
def test_beside_a_method_that_is_made_up_the_other_form_counts_as_well(made_up):
    class OnDemand:
        def __getattr__(self, name: str) -> Any:
            if name == made_up:
                return len
            raise AttributeError(name)

    setattr(OnDemand, "aask" if made_up == "ask" else "ask", staticmethod(print))
    expected = (len, print) if made_up == "ask" else (print, len)
    assert forms(OnDemand(), "ask", "aask") == expected


@pytest.mark.parametrize("value", [True, False, None, "yes", object()])
@pytest.mark.parametrize("name", ["ask", "aask"])
def test_what_is_not_a_method_is_an_error(name, value):
    kind = type("Kind", (), {name: value})
    with pytest.raises(TypeError, match=rf"^Kind\.{name} must be a method, but is "):
        forms(kind(), "ask", "aask")


@pytest.mark.parametrize("name", ["ask", "aask"])
def test_a_property_that_fails_is_not_taken_for_undefined(name):
    @property
    def broken(self: Any) -> Any:
        return self.misspelt

    with pytest.raises(AttributeError, match="misspelt"):
        forms(type("Kind", (), {name: broken})(), "ask", "aask")


class EqualToAll:
    """Compares as equal to everything, as `unittest.mock.ANY` does."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return True

    def __call__(self) -> bool:
        return False


def test_a_method_that_equals_everything_is_not_taken_for_undefined():
    method = EqualToAll()
    kind = type("Kind", (), {"ask": method})
    assert required_forms(kind(), "ask")[0] is method


def test_forms_of_djangos_api_are_found_by_the_name_of_the_sync_one():
    assert names(required_forms(Both(), "ask")) == ("Both.ask", "Both.aask")
    assert names(required_forms(Async(), "ask")) == (None, "Async.aask")


def test_forms_that_are_required_must_exist():
    with pytest.raises(AttributeError, match="'Neither' object has no attribute 'ask'"):
        required_forms(Neither(), "ask")


def marked() -> None: ...


class CallsAsync:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Both().ask, False),
        (Both().aask, True),
        (functools.partial(Both().aask), True),
        (functools.partial(Both().ask), False),
        (lambda: Both().aask(), False),
        (markcoroutinefunction(marked), True),
        (CallsAsync(), False),
        (len, False),
    ],
)
def test_async_functions_are_known_by_definition_or_mark(function, expected):
    assert is_async(function) is expected
