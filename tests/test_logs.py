"""Tests of `Loggable`, the instance-based logs. No database is needed here."""

import asyncio
import contextvars
import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.utils.functional import lazystr

from djem_async.logs import Entry
from djem_async.models import Loggable
from tests.conftest import Api
from tests.testapp.models import User

CONTEXT_REMEMBERS, INSTANCE_REMEMBERS = 64, 1_000


class Plain(Loggable):
    pass


@dataclass(frozen=True)
class Data(Loggable):
    """Equal to others with the same values, and neither hashable nor open to assignments."""

    numbers: list[int] = field(default_factory=list)


class Pair(Loggable, tuple):  # noqa: SLOT001
    """Can't be referenced weakly."""


@pytest.fixture
def report() -> Plain:
    return Plain()


def finish(instance: Loggable, name: str, *lines: object, tag: str | None = None) -> None:
    instance.start_log(name)
    instance.log(*lines, tag=tag)
    instance.end_log()


def elsewhere(call: Callable[..., Any], *args: Any) -> Any:
    """Call in a context that inherits nothing."""
    return contextvars.Context().run(call, *args)


def tagged(entries: list[Entry]) -> list[tuple[str, tuple[str, ...]]]:
    return [(str(entry), entry.tags) for entry in entries]


@pytest.mark.parametrize("kind", [Plain, Data, Pair, User])
def test_any_class_can_log(api: Api, kind: type[Any]) -> None:
    instance, other, changing = kind(), kind(), ["a"]
    instance.start_log("export")
    instance.log("first", 2, None, "")
    instance.log()
    assert_no_logs(other)
    other.start_log("export")  # the same name, of an instance that may be equal
    instance.log(changing, lazystr("lazy"))
    changing.append("b")
    other.discard_log()
    lines = ["first", "2", "None", "", "['a']", "lazy"]
    with pytest.raises(KeyError, match="No finished logs"):
        instance.get_last_log()
    assert api(instance).end_log() == ("export", lines)
    with pytest.raises(KeyError, match="No active log to finish"):
        api(instance).end_log()
    assert instance.get_log("export") == instance.get_last_log() == "\n".join(lines)
    assert_no_logs(other)


def test_entry_is_a_string_whose_repr_shows_its_tags() -> None:
    assert repr(Entry("text")) == "'text'"
    entry = Entry("it's", ("b", "a"))
    assert repr(entry) == '"it\'s", tags=a,b'
    for each in (entry, copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert (type(each), each, each.tags) == (Entry, "it's", ("b", "a"))


def test_names_and_tags_are_strings(report: Plain) -> None:
    for wrong in (1, b"export"):
        with pytest.raises(TypeError, match="must be a string"):
            report.start_log(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must be a string"):
            report.log("line", tag=wrong)  # type: ignore[arg-type]


def test_tags_filter_entries(report: Plain) -> None:
    report.start_log("export")
    report.log("plain")
    report.log("a1", "a2", tag="a")
    report.log("b", tag="b")
    report.log("untagged", tag="")
    report.end_log()
    for read in (partial(report.get_log, "export"), report.get_last_log):
        assert read(raw=True) == read(tags=[], raw=True) == ["plain", "a1", "a2", "b", "untagged"]
        assert read(tags={"a", "b"}, raw=True) == ["a1", "a2", "b"]
        assert read(("b", "unknown")) == "b"
        assert read(["unknown"]) == ""
        with pytest.raises(TypeError, match="tags"):
            read(tags="a")


def test_entries_logged_again_are_plain_lines(report: Plain) -> None:
    finish(report, "export", "line", tag="a")
    finish(report, "copy", *report.get_last_log(raw=True))
    finish(report, "tagged copy", *report.get_log("export", raw=True), tag="b")
    for name, tags in (("export", ("a",)), ("copy", ()), ("tagged copy", ("b",))):
        assert tagged(report.get_log(name, raw=True)) == [("line", tags)]


def assert_no_logs(report: Loggable, *, but_finished: bool = False) -> None:
    errors: list[tuple[Callable[[], object], str]] = [
        (report.end_log, "No active log to finish"),
        (report.discard_log, "No active log to discard"),
        (report.log, "No active log to append to. Has one been started?"),
        (partial(report.get_log, "x"), 'No log found for "x". Has it been finished?'),
        (report.get_last_log, "No finished logs to retrieve"),
    ]
    for call, message in errors[:3] if but_finished else errors:
        with pytest.raises(KeyError) as caught:
            call()
        assert caught.value.args[0].startswith(message)


def save(self: Any) -> tuple[str, list[Entry]]:
    name, entries = Loggable.end_log(self)
    vars(self).setdefault("saved", []).append("sync")
    self.thread = threading.get_ident()
    return name, [Entry(entry.upper()) for entry in entries]


async def asave(self: Any) -> tuple[str, list[Entry]]:
    name, entries = await Loggable.aend_log(self)
    await asyncio.sleep(0)
    vars(self).setdefault("saved", []).append("native")
    return name, entries


Mixin = type("Mixin", (), {"end_log": save})
Saving: Any = type("Saving", (Loggable,), {"end_log": save})
Natively = type("Natively", (Loggable,), {"aend_log": asave})

SAVED: dict[Any, dict[str, list[str]]] = {
    Saving: {"sync": ["sync"], "async": ["sync"]},
    type("ByMixin", (Mixin, Loggable), {}): {"sync": ["sync"], "async": ["sync"]},
    Natively: {"sync": [], "async": ["native"]},
    type("Both", (Loggable,), {"end_log": save, "aend_log": asave}): {
        "sync": ["sync"],
        "async": ["native"],
    },
    # Its `end_log` is more specific than the native one that it inherits.
    type("Below", (Natively,), {"end_log": save}): {"sync": ["sync"], "async": ["sync", "native"]},
}


@pytest.mark.parametrize("kind", SAVED)
def test_overridden_end_log_runs_once(api: Api, kind: type[Any]) -> None:
    report, saved = kind(), SAVED[kind][api.mode]
    report.start_log("export")
    report.log("line")
    assert api(report).end_log() == ("export", ["LINE" if "sync" in saved else "line"])
    assert vars(report).get("saved", []) == saved
    assert report.get_last_log() == "line"  # what an override returns isn't what is kept
    assert_no_logs(report, but_finished=True)


async def test_only_an_overridden_end_log_runs_in_a_thread() -> None:
    report = Saving()
    report.start_log("export")
    await report.aend_log()
    assert report.thread != threading.get_ident()
    assert_no_logs(report, but_finished=True)

    report = Plain()
    report.start_log("export")
    with pytest.raises(StopIteration, match="export"):
        report.aend_log().send(None)  # ends without an await


async def test_a_task_cannot_write_to_or_end_the_log_of_another(report: Plain) -> None:
    started, looked = asyncio.Event(), asyncio.Event()

    async def owner() -> tuple[str, list[Entry]]:
        report.start_log("job")
        started.set()
        await looked.wait()
        return report.end_log()

    async def other() -> None:
        await started.wait()
        assert_no_logs(report)
        await asyncio.to_thread(assert_no_logs, report)
        finish(report, "job", "of the other")
        looked.set()

    ended, _ = await asyncio.gather(owner(), other())
    assert ended == ("job", [])


@pytest.fixture
def hurried_threads() -> Iterator[ThreadPoolExecutor]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(8) as pool:
        yield pool
    sys.setswitchinterval(interval)


def test_threads_have_logs_of_their_own(hurried_threads: ThreadPoolExecutor) -> None:
    together = threading.Barrier(8, timeout=30)

    def work(report: Loggable, number: int) -> tuple[str, list[Entry]]:
        together.wait()
        finish(report, f"log {number}", number)
        report.start_log("job")
        report.log(number)
        together.wait()
        report.log(number)
        return report.end_log()

    for _ in range(50):
        report = Plain()
        ended = list(hurried_threads.map(work, [report] * 8, range(8)))
        assert ended == [("job", [str(number)] * 2) for number in range(8)]
        # None is lost, though they were the first to use the instance.
        assert [report.get_log(f"log {number}") for number in range(8)] == list("01234567")
        assert report.get_last_log() in {f"{number}\n{number}" for number in range(8)}


async def in_a_task(call: Callable[[], Any]) -> Any:
    async def child() -> Any:
        return call()

    return await asyncio.create_task(child())


async def in_a_pool(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, call).result()


children = pytest.mark.parametrize("in_child", [in_a_task, asyncio.to_thread, in_a_pool])


@children
async def test_child_writes_into_the_inherited_log(report: Plain, in_child: Any) -> None:
    report.start_log("job")
    report.log("before")
    await in_child(partial(report.log, "in the child", tag="child"))
    report.log("after")
    lines = tagged(report.end_log()[1])
    assert lines == [("before", ()), ("in the child", ("child",)), ("after", ())]


@children
@pytest.mark.parametrize("end", [Plain.end_log, Plain.discard_log])
async def test_what_a_child_starts_and_ends_is_its_own(
    report: Plain, in_child: Any, end: Callable[[Plain], object]
) -> None:
    def child() -> None:
        with pytest.raises(ValueError, match='"job" is already active'):
            report.start_log("job")
        finish(report, "of the child", "in a log of its own")
        end(report)  # the inherited one
        assert_no_logs(report, but_finished=True)
        report.start_log("job")
        report.log("in a log that is left active")

    report.start_log("job")
    report.log("before")
    await in_child(child)
    report.log("after")
    assert report.end_log() == ("job", ["before", "after"])
    assert_no_logs(report, but_finished=True)
    assert report.get_log("of the child") == "in a log of its own"
    assert report.get_last_log() == "before\nafter"


def test_threads_lose_no_line_of_the_inherited_log(
    report: Plain, hurried_threads: ThreadPoolExecutor
) -> None:
    def work(number: int) -> None:
        for count in range(200):
            report.log(f"{number} {count}")

    report.start_log("job")
    for number in range(8):
        hurried_threads.submit(contextvars.copy_context().run, work, number)
    hurried_threads.shutdown()
    _, lines = report.end_log()
    assert len(lines) == 8 * 200
    for number in range(8):
        own = [line for line in lines if line.startswith(f"{number} ")]
        assert own == [f"{number} {count}" for count in range(200)]


def test_context_that_outlives_the_log_changes_nothing(report: Plain) -> None:
    report.start_log("job")
    report.log("in time")
    late = contextvars.copy_context()
    report.end_log()
    report.start_log("job")
    with suppress(KeyError):
        late.run(report.log, "late")
    assert report.get_log("job") == report.get_last_log() == "in time"
    assert report.end_log() == ("job", [])


@children
async def test_context_finds_its_own_log_or_else_the_latest(report: Plain, in_child: Any) -> None:
    for line in ("of a child", "of another"):
        await in_child(partial(finish, report, "job", line))
        assert report.get_last_log() == report.get_log("job") == line
    finish(report, "job", "own")
    names = ["a", "b", "c", "job"]
    await asyncio.gather(*(in_child(partial(finish, report, name, name)) for name in names))
    assert [report.get_log(name) for name in names] == ["a", "b", "c", "own"]
    assert report.get_last_log() == await in_child(report.get_last_log) == "own"


@pytest.mark.parametrize("thread_sensitive", [True, False])
def test_logs_travel_through_hops_both_ways(report: Plain, thread_sensitive: bool) -> None:
    def hop(call: Callable[..., Any], *args: Any) -> Any:
        return async_to_sync(sync_to_async(call, thread_sensitive=thread_sensitive))(*args)

    report.start_log("outside")
    report.log("outside")
    hop(report.log, "inside")
    hop(report.start_log, "inside")
    with pytest.raises(ValueError, match="already active"):
        report.start_log("inside")
    report.log("outside again")
    hop(report.log, "inside again")
    assert report.end_log() == ("inside", ["outside again", "inside again"])
    report.log("at last")
    assert hop(report.end_log) == ("outside", ["outside", "inside", "at last"])
    assert_no_logs(report, but_finished=True)

    for _ in range(CONTEXT_REMEMBERS):
        finish(report, "job", "line")
    hop(partial(finish, report, "job", "line", tag="inside"))  # differs in the tag only
    elsewhere(finish, report, "job", "of another context")
    assert tagged(report.get_last_log(raw=True)) == [("line", ("inside",))]


@pytest.mark.parametrize("kind", [Plain, Data, Pair, User])
@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda instance: pickle.loads(pickle.dumps(instance))]
)
def test_copy_has_no_logs(kind: type[Any], duplicate: Callable[[Any], Any]) -> None:
    original = kind()
    finish(original, "finished", "line")
    original.start_log("active")
    duplicated, orphan = duplicate(original), duplicate(original)
    assert_no_logs(duplicated)
    finish(duplicated, "active", "of the copy")
    assert original.end_log() == ("active", [])
    assert original.get_log("finished") == "line"
    assert duplicated.get_last_log() == "of the copy"
    del original
    gc.collect()
    assert_no_logs(orphan)


@pytest.mark.parametrize("others", [CONTEXT_REMEMBERS - 1, CONTEXT_REMEMBERS])
@pytest.mark.parametrize("of_another", [False, True])
def test_context_remembers_its_last_64_logs(report: Plain, others: int, of_another: bool) -> None:
    finish(report, "job", "here")
    elsewhere(finish, report, "job", "elsewhere")
    another = Plain()
    for number in range(others):
        finish(another if of_another else report, f"log {number}", number)
    known = "here" if others < CONTEXT_REMEMBERS else "elsewhere"
    assert report.get_log("job") == known
    assert report.get_last_log() == (known if of_another else str(others - 1))


def test_instance_remembers_its_latest_1000_names(report: Plain) -> None:
    finish(report, "own", "of this context")
    for number in range(INSTANCE_REMEMBERS):
        elsewhere(finish, report, f"log {number}", number)
    for number in range(INSTANCE_REMEMBERS):
        assert report.get_log(f"log {number}") == str(number)
    assert report.get_log("own") == "of this context"  # which remembers it by itself
    with pytest.raises(KeyError):
        elsewhere(report.get_log, "own")

    elsewhere(finish, report, "log 0", "anew")
    elsewhere(finish, report, "one more")
    assert report.get_log("log 0") == "anew"
    with pytest.raises(KeyError):
        report.get_log("log 1")


@pytest.mark.parametrize("end", [Plain.end_log, Plain.discard_log, lambda report: None])
def test_long_lived_context_keeps_no_instance_and_does_not_grow(end: Any) -> None:
    def use_many(count: int) -> int:
        alive = weakref.WeakSet[Plain]()
        for number in range(count):
            report = Plain()
            alive.add(report)
            report.start_log(f"log {number}")
            report.log(*range(10))
            end(report)
            del report
        gc.collect()
        assert list(alive) == []
        return len(gc.get_objects())

    few, many = elsewhere(lambda: [use_many(count) for count in (200, 3_000)])
    assert many < few + 200
