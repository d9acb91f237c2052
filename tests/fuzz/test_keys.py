"""Primary keys: a decision on one row is never given for another, however alike their keys are."""

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, Bench, Check, Turn, decide, examples, turns
from tests.fuzz.keys import FAMILIES, MODELS, Item, keys, row
from tests.testapp.models import Thing

TEXTS = ("TextKey", "TextKeys")  # where keys that are equal are different rows
FAMILY = ("Thing", "ThingProxy")
aliases = st.sampled_from(["other", None, "", "DEFAULT"])


@st.composite
def neighbours(draw: Any, kinds: tuple[str, ...]) -> list[Item]:
    """Draw objects that are nearly the same: of one or two models, with similar keys."""
    models = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2, unique=True))
    family = draw(st.sampled_from(FAMILIES))
    similar = draw(st.lists(st.sampled_from(family), min_size=2, max_size=4, unique=True))
    items = [Item(draw(st.sampled_from(models)), key) for key in similar]
    match draw(st.sampled_from(["all alike", "all alike", "another key", "elsewhere", "new"])):
        case "another key":
            items.append(items[0]._replace(key=draw(keys)))
        case "elsewhere":
            items.append(items[0]._replace(alias=draw(aliases)))
        case "new":
            items.append(items[0]._replace(is_new=True))
    return items


@pytest.fixture
def allowed(bench: Bench, access_methods: Callable[..., None]) -> set[Hashable]:
    """Give all models an access method, which goes by the rows in this set."""
    rows: set[Hashable] = set()

    def decide_by_row(obj: Any, user: object) -> bool:
        is_control = isinstance(obj, Thing) and obj.name != "thing"
        return decide(obj, user) if is_control else row(obj) in rows

    for model in MODELS.values():
        access_methods(model, _user_can_use_thing=decide_by_row)
    return rows


def row_or_none(obj: models.Model) -> Hashable:
    """Tell which row an object is, None if its key is none."""
    with suppress(BaseException):
        return row(obj)
    return None


@examples(35)
@given(items=neighbours(TEXTS) | neighbours((*MODELS,)), chosen=st.integers(0, 3), turn=turns)
def test_no_decision_is_given_for_another_row(
    bench: Bench, allowed: set[Hashable], items: list[Item], chosen: int, turn: Turn
) -> None:
    user = bench.cold_user()
    objects = [item.build() for item in items]
    rows = [row_or_none(obj) for obj in objects]
    allowed.clear()
    allowed.add(rows[chosen % len(rows)])
    right = [each and each in allowed for each in rows]

    async def aask_all() -> list[bool | str]:
        return await asyncio.gather(*(Check("has_perm", PERM, obj).aask(user) for obj in objects))

    with bench.at(turn):
        for mode in turn.modes * 2:
            if mode == "sync":
                found = [Check("has_perm", PERM, obj).ask(user) for obj in objects]
                bench.controls(user)
            else:
                found = async_to_sync(aask_all)()
                async_to_sync(bench.acontrols)(user)
            wrong = [f for f, r in zip(found, right, strict=True) if f is not r and type(f) is bool]
            assert not wrong, (mode, found, right)
            items, objects = items[::-1], [item.build() for item in reversed(items)]
            right.reverse()


@examples(17)
@given(
    items=neighbours(TEXTS[:1]) | neighbours(TEXTS[1:]) | neighbours(FAMILY),
    chosen=st.integers(0, 3),
    turn=turns,
)
def test_an_object_that_becomes_another_row_is_asked_anew(
    bench: Bench, allowed: set[Hashable], items: list[Item], chosen: int, turn: Turn
) -> None:
    user = bench.cold_user()
    allowed.clear()
    allowed.add(row_or_none(items[chosen % len(items)].build()))
    obj = items[0].build()
    check = Check("has_perm", PERM, obj)
    with bench.at(turn):
        for mode in turn.modes * 2:
            for item in items:
                obj.__class__ = MODELS[item.model]
                item.shape(obj)
                now = row_or_none(obj)
                right = now and now in allowed
                found = check.ask(user) if mode == "sync" else async_to_sync(check.aask)(user)
                assert found is right or isinstance(found, str), (mode, item, found, right)
        bench.controls(user)
        async_to_sync(bench.acontrols)(user)
