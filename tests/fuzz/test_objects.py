"""Objects: hostile ones, tampered ones, lazy ones, and values that aren't model instances."""

import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.bench import CHECKS, ENTRIES, PERM, Bench, Check, Reading, Turn, examples, turns
from tests.testapp.models import OtherThing, Thing

entries = st.sampled_from(ENTRIES)


def answering(answer: bool) -> dict[str, Any]:
    """Make access methods."""
    return {
        "_user_can_use_thing": lambda _self, _user: answer,
        "_group_can_use_thing": lambda _self, _groups: answer,
    }


# Hostile objects: what they say of themselves is one thing, what their access methods say another

NAMES = (*hostile.DUNDERS, *hostile.OF_OBJECTS)
METHODS = {"grants": answering(True), "denies": answering(False), "has none": {}}


@examples(27)
@given(
    plan=hostile.plans(NAMES), methods=st.sampled_from(sorted(METHODS)), entry=entries, turn=turns
)
def test_a_hostile_object_is_never_granted_against_its_access_methods(
    bench: Bench, plan: hostile.Plan, methods: str, entry: str, turn: Turn
) -> None:
    base = OtherThing if methods == "has none" else Thing
    obj = base.from_db("default", ["id", "name"], [bench.denied.pk, "denied"])
    hostile.set_class(obj, hostile.subclass(base, **plan.build(), **METHODS[methods]))
    read = Reading.DENY if methods == "denies" else Reading.EITHER
    bench.attempt(Check(entry, PERM, obj), read, turn)


# No model instances

NO_MODELS: dict[str, Callable[[Bench], object]] = {
    **{k: lambda _, make=make: make() for k, make in hostile.VALUES.items() if k != "None"},
    "a model": lambda _bench: Thing,
    "a queryset": lambda bench: Thing.objects.filter(pk=bench.granted.pk),
    "a proxy": lambda bench: weakref.proxy(bench.granted),
    "a mock of a model": lambda _bench: Mock(spec=Thing),
    "an imitation": lambda bench: SimpleNamespace(**vars(bench.granted), pk=1, **answering(True)),
    "an awaitable object": lambda bench: hostile.Awaitable(bench.granted),
}


@examples(25)
@given(kind=st.sampled_from(sorted(NO_MODELS)) | hostile.plans(NAMES), entry=entries, turn=turns)
def test_a_value_that_is_not_a_model_instance_is_denied(
    bench: Bench, kind: str | hostile.Plan, entry: str, turn: Turn
) -> None:
    if isinstance(kind, hostile.Plan):
        obj = type("Hostile", (), {**kind.build(), **answering(True)})()
    else:
        obj = NO_MODELS[kind](bench)
    bench.attempt(Check(entry, PERM, obj), Reading.DENY, turn)


# Lazy objects

BEHIND: dict[str, Callable[[Bench], object]] = {
    "granted": lambda bench: bench.granted,
    "denied": lambda bench: bench.denied,
    "missing": lambda _bench: Thing.objects.get(pk=-1),
    "None": lambda _bench: None,
    "a model": lambda _bench: Thing,
}


@examples(17)
@given(
    depth=st.integers(1, 3),
    behind=st.sampled_from(sorted(BEHIND)) | st.sampled_from(sorted(hostile.ERRORS)),
    entry=st.sampled_from(CHECKS),
    turn=turns,
)
def test_a_lazy_object_is_what_it_stands_for(
    bench: Bench, depth: int, behind: str, entry: str, turn: Turn
) -> None:
    def load() -> object:
        return BEHIND[behind](bench) if behind in BEHIND else hostile.misbehaviour(behind)()

    obj: Any = SimpleLazyObject(load)
    for _ in range(depth - 1):
        obj = SimpleLazyObject(lambda inner=obj: inner)
    read = Reading.GRANT if behind == "granted" else Reading.DENY
    bench.attempt(Check(entry, PERM, obj), read, turn)
