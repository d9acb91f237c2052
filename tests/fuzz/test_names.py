"""Names of permissions: any text, classes of text, and things that are none."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import pytest
from django.db.models import TextChoices
from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import PERM, UNHELD, Bench, Check, Reading, Turn, examples, turns
from tests.fuzz.hostile import (
    VALUES,
    CaseInsensitive,
    Equal,
    Lying,
    Plan,
    anything,
    hostile_texts,
    near_misses,
    plans,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT: dict[str, Callable[[str], str]] = {
    "str": str,
    "SafeString": SafeString,
    "CaseInsensitive": CaseInsensitive,
    "claims the held one": lambda text: Lying(text, PERM),
    "claims another": lambda text: Lying(text, UNHELD),
    "claims nothing": lambda text: Lying(text, ""),
}
NO_TEXT: dict[str, Callable[[str], object]] = {
    **{
        kind: lambda _text, make=make: make()
        for kind, make in VALUES.items()
        if "string" not in kind
    },
    "bytes": lambda text: text.encode("utf-8", "surrogatepass"),
    "equal": Equal,
    "lazy": lazystr,
    "in a list": lambda text: [text],
    "in a tuple": lambda text: (text,),
    "in a dict": lambda text: {text: True},
}

names = st.just(PERM) | near_misses(PERM) | anything | anything.map(lambda text: f"testapp.{text}")
things = st.sampled_from(["granted", "denied", None])
entries = st.sampled_from(["has_perm", "has_perms", "backend"])


def reading(text: str, thing: str | None, entry: str) -> Reading:
    is_asked = text == PERM and (entry != "backend" or thing is not None)
    return Reading.GRANT if is_asked and thing != "denied" else Reading.DENY


@examples(55)
@given(kind=st.sampled_from(sorted(TEXT)), text=names, thing=things, entry=entries, turn=turns)
def test_a_name_is_its_text(
    bench: Bench, kind: str, text: str, thing: str | None, entry: str, turn: Turn
) -> None:
    obj = thing and getattr(bench, thing)
    bench.attempt(Check(entry, TEXT[kind](text), obj), reading(text, thing, entry), turn)


@examples(25)
@given(plan=plans(hostile_texts), text=names, thing=things, entry=entries, turn=turns)
def test_a_hostile_name_grants_no_more_than_its_text(
    bench: Bench, plan: Plan, text: str, thing: str | None, entry: str, turn: Turn
) -> None:
    obj = thing and getattr(bench, thing)
    name = type("HostileName", (str,), plan.build())(text)
    read = reading(text, thing, entry)
    bench.attempt(Check(entry, name, obj), Reading.EITHER if read is Reading.GRANT else read, turn)


@examples(30)
@given(
    kind=st.sampled_from(sorted(NO_TEXT)),
    text=names,
    thing=st.sampled_from(["granted", "denied"]),
    entry=entries,
    turn=turns,
)
def test_what_is_no_text_is_denied_on_objects(
    bench: Bench, kind: str, text: str, thing: str, entry: str, turn: Turn
) -> None:
    bench.attempt(Check(entry, NO_TEXT[kind](text), getattr(bench, thing)), Reading.DENY, turn)


class Choice(TextChoices):
    USE = PERM


class StringEnum(str, Enum):  # noqa: UP042 - its `str()` is not its text
    USE = PERM


@pytest.mark.parametrize("verbosity", [0, 1, 2])
@pytest.mark.parametrize("name", [Choice.USE, StringEnum.USE])
def test_a_member_of_an_enumeration_is_its_text(bench: Bench, name: str, verbosity: int) -> None:
    for thing, read in ((bench.granted, Reading.GRANT), (bench.denied, Reading.DENY)):
        bench.attempt(Check("has_perm", name, thing), read, Turn(verbosity, ("sync", "async")))
