"""Names of permissions: any text, classes of text, and values that aren't text."""

from collections.abc import Callable

from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import hostile
from tests.fuzz.bench import CHECKS, PERM, UNHELD, Bench, Check, Reading, Turn, examples, turns

TEXT: dict[str, Callable[[str], str]] = {
    "str": str,
    "SafeString": SafeString,
    "CaseInsensitive": hostile.CaseInsensitive,
    "claims the held one": lambda text: hostile.Lying(text, PERM),
    "claims another": lambda text: hostile.Lying(text, UNHELD),
}
NO_TEXT: dict[str, Callable[[str], object]] = {
    **{k: lambda _, make=make: make() for k, make in hostile.VALUES.items() if "string" not in k},
    "bytes": lambda text: text.encode("utf-8", "surrogatepass"),
    "lazy": lazystr,
    "in a tuple": lambda text: (text,),
}

texts = hostile.anything | hostile.anything.map(lambda text: f"testapp.{text}")
names = st.just(PERM) | hostile.near_misses(PERM) | texts
entries = st.sampled_from(CHECKS)


@examples(37)
@given(
    kind=st.sampled_from(sorted(TEXT)) | hostile.plans(hostile.TEXT_METHODS),
    text=names,
    thing=st.sampled_from(["granted", "denied", None]),
    entry=entries,
    turn=turns,
)
def test_a_name_is_its_text(
    bench: Bench, kind: str | hostile.Plan, text: str, thing: str | None, entry: str, turn: Turn
) -> None:
    is_held = text == PERM and thing != "denied" and (entry != "backend" or thing is not None)
    if isinstance(kind, hostile.Plan):
        name = type("HostileName", (str,), kind.build())(text)
        read = Reading.EITHER if is_held else Reading.DENY
    else:
        name = TEXT[kind](text)
        read = Reading.GRANT if is_held else Reading.DENY
    bench.attempt(Check(entry, name, thing and getattr(bench, thing)), read, turn)


@examples(15)
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
