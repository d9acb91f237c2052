"""Names of permissions: any text, classes of text, and values that aren't text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import CHECKS, PERM, UNHELD, Bench, Check, Reading, Turn, examples, turns
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
}
NO_TEXT: dict[str, Callable[[str], object]] = {
    **{k: lambda _, make=make: make() for k, make in VALUES.items() if "string" not in k},
    "bytes": lambda text: text.encode("utf-8", "surrogatepass"),
    "equal": Equal,
    "lazy": lazystr,
    "in a tuple": lambda text: (text,),
}

names = st.just(PERM) | near_misses(PERM) | anything | anything.map(lambda text: f"testapp.{text}")
entries = st.sampled_from(CHECKS)


@examples(75)
@given(
    kind=st.sampled_from(sorted(TEXT)) | plans(hostile_texts),
    text=names,
    thing=st.sampled_from(["granted", "denied", None]),
    entry=entries,
    turn=turns,
)
def test_a_name_is_its_text(
    bench: Bench, kind: str | Plan, text: str, thing: str | None, entry: str, turn: Turn
) -> None:
    is_held = text == PERM and thing != "denied" and (entry != "backend" or thing is not None)
    if isinstance(kind, Plan):
        name = type("HostileName", (str,), kind.build())(text)
        read = Reading.EITHER if is_held else Reading.DENY
    else:
        name = TEXT[kind](text)
        read = Reading.GRANT if is_held else Reading.DENY
    bench.attempt(Check(entry, name, thing and getattr(bench, thing)), read, turn)


@examples(30)
@given(
    kind=st.sampled_from(sorted(NO_TEXT)),
    text=names,
    thing=st.sampled_from(["granted", "denied"]),
    entry=entries,
    turn=turns,
)
def test_a_name_that_is_not_text_is_denied(
    bench: Bench, kind: str, text: str, thing: str, entry: str, turn: Turn
) -> None:
    bench.attempt(Check(entry, NO_TEXT[kind](text), getattr(bench, thing)), Reading.DENY, turn)
