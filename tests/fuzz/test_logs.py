"""Logs: names, lines and tags of every kind, in contexts that inherit from each other."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from djem_async.models import Loggable
from tests.fuzz.bench import PERM, Bench, Turn, examples, turns
from tests.fuzz.hostile import VALUES, anything

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = ["Model-level Result: Granted\n", "not this one"]
HEADER = [f"Permission: {PERM}", "User: {0.username} ({0.pk})", "Object: {1.name} ({1.pk})", ""]
near_results = st.sampled_from(["\n\nRESULT: Permission Granted", "\x1b[2J", "\u202e", "{0}"])
values = st.sampled_from(sorted(VALUES.keys() - {"a huge number"})).map(lambda key: VALUES[key]())
few = st.sampled_from(["a", "b", "", "auto", "two\nlines"])  # so that some are the same
texts = few | anything
words: Any = few | few | few | texts | values | texts.map(SafeString)


@dataclass(eq=False)
class Log:
    name: str
    lines: list[tuple[str, Any]]  # texts with tags, shared by the contexts that inherit the log

    def texts(self) -> list[str]:
        return [text for text, _ in self.lines]


class Here:
    """What the logs are in one context: a stack of active ones, and a list of finished ones."""

    def __init__(self, parent: Here | None = None) -> None:
        self.context = parent.context.copy() if parent else contextvars.Context()
        self.ancestors: list[Here] = [*parent.ancestors, parent] if parent else []
        self.active: list[Log] = parent.active[:] if parent else []
        self.finished: list[Log] = parent.finished[:] if parent else []

    def start(self, name: Any, _: Any) -> None:
        if not isinstance(name, str):
            raise TypeError
        if any(name == log.name for log in self.active):
            raise ValueError
        self.active.append(Log(str(name), []))

    def log(self, line: Any, tag: Any) -> None:
        if not isinstance(tag, str | None):
            raise TypeError
        if not self.active:
            raise KeyError
        self.active[-1].lines.append((str(line), tag))

    def end(self, *_: Any) -> None:
        self.discard()
        self.finished.append(Log(self.ended.name, self.ended.lines[:]))

    def discard(self, *_: Any) -> None:
        if not self.active:
            raise KeyError
        self.ended = self.active.pop()

    def check(self, loggable: Loggable, latest: list[Log]) -> None:
        """Compare what can be read here; the latest logs are those of all contexts."""
        for log in {log.name: log for log in latest + self.finished}.values():
            entries = loggable.get_log(log.name, raw=True)
            assert [(str(entry), entry.tags) for entry in entries] == [
                (text, (tag,) if tag else ()) for text, tag in log.lines
            ]
            assert loggable.get_log(log.name) == "\n".join(log.texts())
            entries.clear()
        if latest:
            assert loggable.get_last_log(raw=True) == (self.finished or latest)[-1].texts()


def outcome(call: Callable[..., object], *args: Any) -> type[BaseException] | None:
    try:
        call(*args)
    except (TypeError, ValueError, KeyError) as error:
        return type(error)
    return None


ACTIONS: dict[str, Callable[[Loggable, Any, Any], object]] = {
    "start": lambda loggable, word, _: loggable.start_log(word),
    "log": lambda loggable, word, tag: loggable.log(word, tag=tag),
    "end": lambda loggable, *_: loggable.end_log(),
    "discard": lambda loggable, *_: loggable.discard_log(),
}
actions = st.sampled_from([*ACTIONS, "start", "log", "log", "inherit"])
FIRST = [(0, "start", "outer", None), (0, "inherit", "", None)]
tags = st.none() | st.none() | texts | values
steps = st.tuples(st.sampled_from([0, 1, 2, 3]), actions, words, tags)


@examples(45)
@given(history=st.lists(steps, min_size=12, max_size=30))
def test_logs_hold_what_contexts_write_into_them(history: list[Any]) -> None:
    loggable, contexts, latest = Loggable(), [Here()], list[Log]()
    for where, action, word, tag in FIRST + history:
        here = contexts[where % len(contexts)]
        if action == "inherit":
            contexts.append(Here(here))
            continue
        error = outcome(getattr(here, action), word, tag)
        assert outcome(here.context.run, ACTIONS[action], loggable, word, tag) is error
        if action in {"end", "discard"} and not error:
            latest += here.finished[-1:] if action == "end" else []
            # Contexts that inherited it may write to it or may not: nobody sees that.
            for late in [each for each in contexts if here in each.ancestors]:
                if here.ended in late.active:
                    contexts.remove(late)
                    if all(late.active[-1] not in each.active for each in contexts):
                        outcome(late.context.run, loggable.log, "late")
        here.context.run(here.check, loggable, latest)
    for here in contexts:
        here.context.run(here.check, loggable, latest)
    for here in reversed(contexts):  # a child ends what it inherited for itself
        for log in reversed(here.active):
            assert here.context.run(loggable.end_log) == (log.name, log.texts())
        assert outcome(here.context.run, loggable.end_log) is KeyError


@examples(17)
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
                assert repr(entries[-1]) == r"'\nRESULT: Permission Denied', tags=auto"
                expected = HEADER if turn.verbosity > 1 else []
                assert entries[:-1] == [line.format(user, bench.denied) for line in expected + BODY]
    bench.denied.name = name
