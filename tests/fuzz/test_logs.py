"""Logs: names, lines and tags of every kind, against a list of lists."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from djem_async.models import Loggable
from tests.fuzz.bench import PERM, Bench, Turn, examples, turns
from tests.fuzz.hostile import VALUES, Plan, anything, hostile_texts, plans

BODY = ["Model-level Result: Granted\n", "not this one"]
HEADER = [
    f"Permission: {PERM}",
    "User: {user.username} ({user.pk})",
    "Object: {thing.name} ({thing.pk})",
    "",
]
near_results = st.sampled_from(
    [
        "\n\nRESULT: Permission Granted",
        "\r\nRESULT: Permission Granted",
        "\u2028RESULT: Permission Granted",
        "\x1b[2J\x1b[HRESULT: Permission Granted",
        "\u202edetnarG noissimreP :TLUSER",
        "\0",
        "{0}",
        "%s",
    ]
)
values = st.sampled_from(sorted(VALUES)).map(lambda kind: Value(kind))
hostile = plans(("__str__", "__repr__", "__format__", "__eq__", "__hash__", "__bool__", "__len__"))
few = st.sampled_from(["a", "b", "", "auto", "two\nlines"])  # so that some are the same
texts = few | anything
words: Any = texts | values | hostile | texts.map(SafeString)


class Value(NamedTuple):
    """One of the values by its name."""

    kind: str


def build(word: Any) -> Any:
    match word:
        case Plan():
            return type("Hostile", (), word.build())()
        case Value(kind):
            return VALUES[kind]()
        case _:
            return word


class Reference:
    """What a log is: lists of texts with tags."""

    def __init__(self) -> None:
        self.active: list[tuple[str, list[tuple[str, Any]]]] = []
        self.finished: dict[str, list[tuple[str, Any]]] = {}

    def start(self, name: Any, _tag: Any) -> None:
        if not isinstance(name, str):
            raise TypeError
        if any(name == other for other, _ in self.active):
            raise ValueError
        self.active.append((str(name), []))

    def log(self, line: Any, tag: Any) -> None:
        if tag is not None and not isinstance(tag, str):
            raise TypeError
        text = str(line)
        if not self.active:
            raise KeyError
        self.active[-1][1].append((text, tag))

    def end(self, _name: Any, _tag: Any) -> None:
        if not self.active:
            raise KeyError
        name, lines = self.active.pop()
        self.finished[name] = lines

    def discard(self, _name: Any, _tag: Any) -> None:
        if not self.active:
            raise KeyError
        self.active.pop()

    def check(self, loggable: Loggable) -> None:
        for name, lines in self.finished.items():
            entries = loggable.get_log(name, raw=True)
            assert entries == [text for text, _ in lines]
            assert [entry.tags for entry in entries] == [(tag,) if tag else () for _, tag in lines]
            assert loggable.get_log(name) == "\n".join(entries)
            for tag in {tag for _, tag in lines if tag}:
                kept = [text for text, other in lines if other == tag]
                assert loggable.get_log(name, tags=[tag], raw=True) == kept


def act(loggable: Loggable, action: str, word: Any, tag: Any) -> None:
    match action:
        case "start":
            loggable.start_log(word)
        case "log":
            loggable.log(word, tag=tag)
        case "end":
            loggable.end_log()
        case "discard":
            loggable.discard_log()


actions = st.sampled_from(["start", "log", "log", "log", "end", "end", "discard"])
histories = st.lists(st.tuples(actions, words, st.none() | texts | values), min_size=1, max_size=15)


@examples(90)
@given(history=histories)
def test_logs_hold_the_texts_they_were_given_or_refuse_them(
    bench: Bench, history: list[Any]
) -> None:
    loggable, reference = Loggable(), Reference()
    for action, word, tag in history:
        bench.inputs += 1
        bench.checks += 1
        given = build(word), build(tag)
        errors: list[type[BaseException] | None] = []
        for each in (partial(act, loggable, action), getattr(reference, action)):
            try:
                each(*given)
            except BaseException as error:
                errors.append(type(error))
            else:
                errors.append(None)
        found, expected = errors
        assert (found is None) is (expected is None)
        # What is hard to print may also fail in the message about it.
        is_hard = isinstance(word, Plan) or "huge" in f"{word} {tag}"
        assert found is expected or is_hard
        reference.check(loggable)
    for name, lines in reversed(reference.active):
        assert loggable.end_log() == (name, [text for text, _ in lines])


@examples(35)
@given(
    plan=plans(hostile_texts),
    lines=st.lists(words, max_size=3),
    way=st.sampled_from(["ends", "is discarded"]),
    turn=turns,
)
def test_no_name_of_a_log_is_in_the_way_of_others(
    bench: Bench, plan: Plan, lines: list[Any], way: str, turn: Turn
) -> None:
    user = bench.cold_user()
    with suppress(BaseException):
        user.start_log(type("HostileName", (str,), plan.build())("name"))
        with suppress(BaseException):
            user.log(*map(build, lines))
        user.end_log() if way == "ends" else user.discard_log()
    with bench.at(turn):
        bench.controls(user)
        async_to_sync(bench.acontrols)(user)


# Logs of checks: what an object or a user says of itself is text, and nothing else


@examples(35)
@given(text=texts | near_results, username=texts, turn=turns)
def test_no_text_changes_the_entries_of_a_check(
    bench: Bench, text: str, username: str, turn: Turn
) -> None:
    user = bench.cold_user()
    user.username = username
    bench.denied.name, name = text, bench.denied.name
    with bench.at(turn):
        for check in (user.has_perm, async_to_sync(user.ahas_perm)):
            assert check(PERM, bench.denied) is False
            if turn.verbosity:
                entries = user.get_last_log(raw=True)
                result, is_denied = "\nRESULT: Permission Denied", "auto" in entries[-1].tags
                assert (entries[-1], is_denied) == (result, True)
                expected = HEADER if turn.verbosity > 1 else []
                assert entries[:-1] == [
                    line.format(user=user, thing=bench.denied) for line in expected + BODY
                ]
    bench.denied.name = name
    bench.inputs += 1
