"""Tests of `Loggable`, the instance-based logs. No database is needed here."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.utils.functional import lazystr

from djem_async import logs
from djem_async.logs import Entry, LogScope
from djem_async.models import Loggable
from tests.test_memory import context_size
from tests.testapp.models import User

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Api


class Plain(Loggable):
    pass


class WithInit(Loggable):
    """Has an `__init__` that calls no other."""

    def __init__(self) -> None:
        self.title = "title"


@dataclass
class Data(Loggable):
    """Is equal to others like it, and so not hashable."""

    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen(Loggable):
    number: int = 0


class Slotted(Loggable):
    __slots__ = ("title",)


class ListedLast(list, Loggable):  # type: ignore[type-arg]
    pass


class Failure(Loggable, Exception):
    pass


class Pair(Loggable, tuple):  # type: ignore[type-arg]  # noqa: SLOT001
    """Cannot be referred to weakly."""


CLASSES = [Plain, WithInit, Data, Frozen, Slotted, ListedLast, Failure, Pair, User]


@pytest.fixture
def report() -> Plain:
    return Plain()


def finish(instance: Loggable, name: str, *lines: object, tag: str | None = None) -> None:
    instance.start_log(name)
    instance.log(*lines, tag=tag)
    instance.end_log()


def test_an_entry_has_no_dictionary() -> None:
    assert not hasattr(Entry("text"), "__dict__")


def tagged(entries: list[Entry]) -> list[tuple[str, tuple[str, ...]]]:
    return [(str(entry), entry.tags) for entry in entries]


# Lines and entries


def test_a_log_keeps_the_lines_it_was_given(api: Api, report: Plain) -> None:
    report.start_log("export")
    report.log("first", "second")
    report.log()
    report.log("third")
    assert api(report).end_log() == ("export", ["first", "second", "third"])
    assert report.get_log("export") == "first\nsecond\nthird"
    assert report.get_last_log() == "first\nsecond\nthird"


def test_a_log_may_be_empty(api: Api, report: Plain) -> None:
    report.start_log("export")
    assert api(report).end_log() == ("export", [])
    assert report.get_log("export") == ""
    assert report.get_last_log(raw=True) == []


def test_lines_become_text_when_they_are_logged(report: Plain) -> None:
    changing = ["a"]
    finish(report, "export", 1, None, changing, lazystr("lazy"), "")
    changing.append("b")
    assert report.get_log("export", raw=True) == ["1", "None", "['a']", "lazy", ""]


def test_a_log_may_be_long(report: Plain) -> None:
    report.start_log("export")
    for number in range(20_000):
        report.log(number)
    assert report.end_log()[1] == [str(number) for number in range(20_000)]


@pytest.mark.parametrize("kind", CLASSES)
def test_any_class_can_log(kind: type[Any], api: Api) -> None:
    instance, other = kind(), kind()
    instance.start_log("export")
    instance.log("line")
    assert api(instance).end_log() == ("export", ["line"])
    with pytest.raises(KeyError):
        other.get_last_log()


def test_entries_are_strings_with_tags(report: Plain) -> None:
    finish(report, "export", "line", tag="import")
    [entry] = report.get_last_log(raw=True)
    assert isinstance(entry, str)
    assert entry == "line"
    assert hash(entry) == hash("line")
    assert entry.tags == ("import",)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("text"), "'text'"),
        (Entry("text", ["a"]), "'text', tags=a"),
        (Entry("it's", iter(["b", "a"])), '"it\'s", tags=a,b'),
        (Entry("\n", ("a",)), "'\\n', tags=a"),
        (Entry(), "''"),
    ],
)
def test_the_repr_of_an_entry_shows_its_tags(entry: Entry, expected: str) -> None:
    assert repr(entry) == expected


def test_the_tags_of_an_entry_keep_their_order() -> None:
    assert Entry("text", ["b", "a"]).tags == ("b", "a")


def test_the_tags_of_an_entry_that_several_logs_have_never_change() -> None:
    entry: Any = Entry("text", ["a"])
    with pytest.raises(AttributeError):
        entry.tags = ("b",)
    assert entry.tags == ("a",)


def copies() -> list[Any]:
    protocols = range(2, pickle.HIGHEST_PROTOCOL + 1)
    pickled = [
        pytest.param(
            lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol)),
            id=f"pickle{protocol}",
        )
        for protocol in protocols
    ]
    return [copy.copy, copy.deepcopy, *pickled]


@pytest.mark.parametrize("duplicate", copies())
def test_entries_can_be_copied(duplicate: Callable[[Any], Any]) -> None:
    entry = duplicate(Entry("text", ("a", "b")))
    assert type(entry) is Entry
    assert entry == "text"
    assert entry.tags == ("a", "b")


# Tags


@pytest.fixture
def tagged_report(report: Plain) -> Plain:
    report.start_log("export")
    report.log("plain")
    report.log("a1", "a2", tag="a")
    report.log("b", tag="b")
    report.log("untagged", tag="")
    report.end_log()
    return report


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, ["plain", "a1", "a2", "b", "untagged"]),
        ([], ["plain", "a1", "a2", "b", "untagged"]),
        (["a"], ["a1", "a2"]),
        (("b",), ["b"]),
        ({"a", "b"}, ["a1", "a2", "b"]),
        (["b", "unknown"], ["b"]),
        (["unknown"], []),
    ],
)
def test_tags_choose_entries(tagged_report: Plain, tags: Any, expected: list[str]) -> None:
    assert tagged_report.get_log("export", tags=tags, raw=True) == expected
    assert tagged_report.get_last_log(tags=tags, raw=True) == expected
    assert tagged_report.get_log("export", tags) == "\n".join(expected)
    assert tagged_report.get_last_log(tags) == "\n".join(expected)


def test_a_string_is_no_list_of_tags(tagged_report: Plain) -> None:
    for read in (partial(tagged_report.get_log, "export"), tagged_report.get_last_log):
        with pytest.raises(TypeError, match="tags"):
            read(tags="a")


def test_what_an_override_returns_is_not_what_is_kept() -> None:
    class Shouting(Loggable):
        def end_log(self) -> tuple[str, list[Entry]]:
            name, entries = super().end_log()
            return name, [Entry(entry.upper(), ("a", "b")) for entry in entries]

    report = Shouting()
    report.start_log("export")
    report.log("line")
    assert tagged(report.end_log()[1]) == [("LINE", ("a", "b"))]
    assert tagged(report.get_last_log(raw=True)) == [("line", ())]


def test_raw_entries_keep_their_tags(tagged_report: Plain) -> None:
    assert tagged(tagged_report.get_last_log(raw=True)) == [
        ("plain", ()),
        ("a1", ("a",)),
        ("a2", ("a",)),
        ("b", ("b",)),
        ("untagged", ()),
    ]


@pytest.mark.parametrize("tag", [None, "again"])
def test_entries_logged_again_are_plain_lines(tagged_report: Plain, tag: str | None) -> None:
    tagged_report.start_log("copy")
    tagged_report.log(*tagged_report.get_last_log(tags=["a"], raw=True), tag=tag)
    tags = (tag,) if tag else ()
    assert tagged(tagged_report.end_log()[1]) == [("a1", tags), ("a2", tags)]


def test_what_is_returned_is_a_copy(tagged_report: Plain) -> None:
    tagged_report.start_log("other")
    tagged_report.log("line")
    _, entries = tagged_report.end_log()
    for returned in (
        entries,
        tagged_report.get_log("other", raw=True),
        tagged_report.get_last_log(raw=True),
    ):
        returned.clear()
    assert tagged_report.get_log("other") == tagged_report.get_last_log() == "line"


# Names and nesting


def test_starting_a_log_suspends_the_active_one(api: Api, report: Plain) -> None:
    report.start_log("outer")
    report.log("before")
    report.start_log("inner")
    report.log("inside")
    report.start_log("innermost")
    report.log("deep inside")
    assert api(report).end_log() == ("innermost", ["deep inside"])
    assert api(report).end_log() == ("inner", ["inside"])
    report.log("after")
    assert api(report).end_log() == ("outer", ["before", "after"])


def test_a_discarded_log_is_gone(api: Api, report: Plain) -> None:
    report.start_log("outer")
    report.start_log("inner")
    report.log("inside")
    report.discard_log()
    report.log("outside")
    assert api(report).end_log() == ("outer", ["outside"])
    with pytest.raises(KeyError):
        report.get_log("inner")


@pytest.mark.parametrize("suspended", [False, True])
def test_an_active_name_cannot_be_started_again(report: Plain, suspended: bool) -> None:
    report.start_log("export")
    report.log("line")
    if suspended:
        report.start_log("inner")
    with pytest.raises(ValueError, match=r'^A log named "export" is already active'):
        report.start_log("export")
    if suspended:
        report.discard_log()
    assert report.end_log() == ("export", ["line"])


@pytest.mark.parametrize("end", [Plain.end_log, Plain.discard_log])
def test_a_name_is_free_again_when_its_log_is_over(
    report: Plain, end: Callable[[Plain], object]
) -> None:
    report.start_log("export")
    end(report)
    finish(report, "export", "anew")
    assert report.get_log("export") == "anew"


def test_a_name_is_active_for_its_own_instance_only() -> None:
    first, second = Plain(), Plain()
    first.start_log("export")
    second.start_log("export")
    first.log("of the first")
    second.log("of the second")
    assert first.end_log() == ("export", ["of the first"])
    assert second.end_log() == ("export", ["of the second"])


def test_instances_that_are_equal_have_logs_of_their_own() -> None:
    first, second = Data(), Data()
    assert first == second
    first.start_log("export")
    with pytest.raises(KeyError):
        second.log("line")
    finish(second, "other", "line")
    assert first.end_log() == ("export", [])


def test_a_reused_name_replaces_the_log_and_counts_as_the_last(report: Plain) -> None:
    finish(report, "a", "old")
    finish(report, "b", "in between")
    assert report.get_last_log() == "in between"
    finish(report, "a", "new")
    assert report.get_log("a") == report.get_last_log() == "new"
    assert report.get_log("b") == "in between"


def test_the_last_log_is_the_one_that_ended_last_not_the_one_that_began_last(
    report: Plain,
) -> None:
    report.start_log("outer")
    finish(report, "inner", "inside")
    assert report.get_last_log() == "inside"
    report.end_log()
    assert report.get_last_log() == ""


def test_many_logs_can_be_kept_and_found(report: Plain) -> None:
    for number in range(100):
        finish(report, f"log {number % 70}", number)
    assert [report.get_log(f"log {number}") for number in range(70)] == [
        str(number + 70 if number < 30 else number) for number in range(70)
    ]


# Errors

ERRORS: list[tuple[Callable[[Plain], object], str]] = [
    (lambda report: report.end_log(), "No active log to finish"),
    (lambda report: async_to_sync(report.aend_log)(), "No active log to finish"),
    (lambda report: report.discard_log(), "No active log to discard"),
    (lambda report: report.log("line"), "No active log to append to. Has one been started?"),
    (lambda report: report.log(), "No active log to append to. Has one been started?"),
    (lambda report: report.get_log("x"), 'No log found for "x". Has it been finished?'),
    (lambda report: report.get_log("x", raw=True), 'No log found for "x". Has it been finished?'),
    (lambda report: report.get_last_log(), "No finished logs to retrieve"),
    (lambda report: report.get_last_log(["auto"]), "No finished logs to retrieve"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_what_is_impossible_is_an_error(
    report: Plain, call: Callable[[Plain], object], message: str
) -> None:
    with pytest.raises(KeyError) as caught:
        call(report)
    assert caught.value.args[0].startswith(message)


@pytest.mark.parametrize(("call", "message"), ERRORS[:5])
def test_nothing_is_active_when_all_logs_are_over(
    report: Plain, call: Callable[[Plain], object], message: str
) -> None:
    finish(report, "finished")
    report.start_log("discarded")
    report.discard_log()
    with pytest.raises(KeyError) as caught:
        call(report)
    assert caught.value.args[0].startswith(message)


def test_an_active_log_cannot_be_read(report: Plain) -> None:
    report.start_log("export")
    report.log("line")
    with pytest.raises(KeyError, match="Has it been finished"):
        report.get_log("export")
    with pytest.raises(KeyError, match="No finished logs"):
        report.get_last_log()


@pytest.mark.parametrize("count", [1, logs._LONGEST_CHAIN + 1, 3 * logs._LONGEST_CHAIN])
def test_the_last_log_is_that_of_this_context_however_many_there_are(
    report: Plain, count: int
) -> None:
    def finish(name: str) -> None:
        report.start_log(name)
        report.log(name)
        report.end_log()

    for number in range(count):
        finish(f"log {number}")
    contextvars.copy_context().run(finish, "of another context")
    assert report.get_last_log() == f"log {count - 1}"
    assert contextvars.Context().run(report.get_last_log) == "of another context"


def test_the_last_log_of_this_context_stays_when_another_instance_finishes_one(
    report: Plain,
) -> None:
    def finish(instance: Plain, name: str) -> None:
        instance.start_log(name)
        instance.log(name)
        instance.end_log()

    finish(report, "mine")
    contextvars.copy_context().run(finish, report, "of another context")
    finish(another := Plain(), "of another instance")
    assert report.get_last_log() == "mine"
    assert another.get_last_log() == "of another instance"


def test_a_log_whose_block_has_ended_elsewhere_may_be_started_anew(report: Plain) -> None:
    with LogScope(report, "export"):
        context = contextvars.copy_context()
        with pytest.raises(ValueError, match="already active"):
            context.run(report.start_log, "export")
    context.run(report.start_log, "export")
    assert context.run(report.end_log) == ("export", [])


# The hook: overrides of end_log


class Persisting(Loggable):
    """Keeps what it persists, and the thread in which it did so."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, list[Entry]]] = []
        self.thread: int | None = None

    def end_log(self) -> tuple[str, list[Entry]]:
        name, entries = super().end_log()
        self.saved.append((name, entries))
        self.thread = threading.get_ident()
        return name, entries


class PersistingNatively(Loggable):
    def __init__(self) -> None:
        self.saved: list[str] = []

    async def aend_log(self) -> tuple[str, list[Entry]]:  # type: ignore[override]
        name, entries = await super().aend_log()
        await asyncio.sleep(0)
        self.saved.append(f"native {name}")
        return name, entries


class PersistingBoth(PersistingNatively):
    def end_log(self) -> tuple[str, list[Entry]]:
        name, entries = super().end_log()
        self.saved.append(f"sync {name}")
        return name, entries

    async def aend_log(self) -> tuple[str, list[Entry]]:  # type: ignore[override]
        return await super().aend_log()


class PersistingMixin:
    """Not a `Loggable` itself."""

    saved: str

    def end_log(self) -> tuple[str, list[Entry]]:
        name, entries = super().end_log()  # type: ignore[misc]
        self.saved = name
        return name, entries


class MixedIn(PersistingMixin, Loggable):
    pass


def step(coroutine: Any) -> Any:
    """Run a coroutine that does not wait for anything."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


def test_an_override_of_end_log_is_run_in_both_forms(api: Api) -> None:
    report = Persisting()
    report.start_log("export")
    report.log("line")
    assert api(report).end_log() == ("export", ["line"])
    assert report.saved == [("export", ["line"])]
    assert report.get_last_log() == "line"


async def test_an_override_of_end_log_runs_in_a_thread() -> None:
    report = Persisting()
    report.start_log("export")
    await report.aend_log()
    assert report.thread not in (None, threading.get_ident())
    with pytest.raises(KeyError):
        report.log("the log is over in this context too")


def test_an_override_in_a_mixin_is_honoured(api: Api) -> None:
    report = MixedIn()
    report.start_log("export")
    api(report).end_log()
    assert report.saved == "export"


def test_without_an_override_there_is_no_thread_hop(report: Plain) -> None:
    report.start_log("export")
    report.log("line")
    assert step(report.aend_log()) == ("export", ["line"])


async def test_a_native_override_is_preferred() -> None:
    report = PersistingNatively()
    report.start_log("export")
    assert await report.aend_log() == ("export", [])
    assert report.saved == ["native export"]


async def test_where_both_are_overridden_each_form_runs_its_own() -> None:
    report = PersistingBoth()
    report.start_log("a")
    report.end_log()
    report.start_log("b")
    await report.aend_log()
    assert report.saved == ["sync a", "native b"]


async def test_an_override_below_a_native_one_is_not_skipped() -> None:
    class Below(PersistingNatively):
        def end_log(self) -> tuple[str, list[Entry]]:
            name, entries = super().end_log()
            self.saved.append(f"sync {name}")
            return name, entries

    report = Below()
    report.start_log("export")
    await report.aend_log()
    assert report.saved == ["sync export", "native export"]


async def test_an_error_in_an_override_is_not_swallowed() -> None:
    class Failing(Loggable):
        def end_log(self) -> tuple[str, list[Entry]]:
            super().end_log()
            raise OSError("disk full")

    report = Failing()
    report.start_log("export")
    with pytest.raises(OSError, match="disk full"):
        await report.aend_log()
    with pytest.raises(KeyError, match="No active log"):
        report.log("line")


@pytest.mark.parametrize("kind", [Plain, Persisting])
def test_an_end_that_is_not_awaited_has_no_truth_value(kind: type[Loggable]) -> None:
    report = kind()
    report.start_log("export")
    with pytest.raises(TypeError, match=r"aend_log\(\) was not awaited"):
        bool(report.aend_log())
    report.log("still active")
    assert report.end_log() == ("export", ["still active"])


# Context safety


async def test_tasks_have_logs_of_the_same_name_at_once(report: Plain) -> None:
    async def work(number: int) -> tuple[str, list[Entry]]:
        report.start_log("job")
        for _ in range(5):
            report.log(number)
            await asyncio.sleep(0)
        return await report.aend_log()

    results = await asyncio.gather(*(work(number) for number in range(50)))
    assert results == [("job", [str(number)] * 5) for number in range(50)]


async def test_a_task_cannot_write_to_or_end_the_log_of_another(report: Plain) -> None:
    started, looked = asyncio.Event(), asyncio.Event()

    async def owner() -> tuple[str, list[Entry]]:
        report.start_log("job")
        started.set()
        await looked.wait()
        return report.end_log()

    async def other() -> None:
        await started.wait()
        for call, _ in ERRORS[:5]:
            with pytest.raises(KeyError):
                await asyncio.to_thread(call, report)
        finish(report, "job", "of the other")
        looked.set()

    ended, _ = await asyncio.gather(owner(), other())
    assert ended == ("job", [])


async def test_a_task_reads_what_it_finished_itself(report: Plain) -> None:
    async def work(number: int) -> tuple[str, str]:
        finish(report, "job", number)
        await asyncio.sleep(0)
        return report.get_last_log(), report.get_log("job")

    finished = await asyncio.gather(*(work(number) for number in range(20)))
    assert finished == [(str(number), str(number)) for number in range(20)]


async def test_a_child_begins_with_the_logs_of_its_parent(report: Plain) -> None:
    report.start_log("outer")
    report.start_log("inner")
    report.log("before")
    created, parent_went_on = asyncio.Event(), asyncio.Event()

    async def child() -> list[tuple[str, list[Entry]]]:
        with pytest.raises(ValueError, match="already active"):
            report.start_log("outer")
        created.set()
        await parent_went_on.wait()
        report.log("of the child")
        return [report.end_log(), report.end_log()]

    task = asyncio.create_task(child())
    await created.wait()
    report.log("of the parent")
    inner = report.end_log()
    parent_went_on.set()
    assert await task == [("inner", ["before", "of the child"]), ("outer", [])]
    # What the child wrote and ended was its own copy.
    assert inner == ("inner", ["before", "of the parent"])
    assert report.end_log() == ("outer", [])


async def test_the_ends_of_a_parent_do_not_reach_its_child(report: Plain) -> None:
    report.start_log("job")
    ended = asyncio.Event()

    async def child() -> tuple[str, list[Entry]]:
        await ended.wait()
        report.log("late")
        return report.end_log()

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    report.discard_log()
    ended.set()
    assert await task == ("job", ["late"])


async def test_a_parent_finds_by_name_what_its_children_finished(report: Plain) -> None:
    finish(report, "own", "of the parent")

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        finish(report, f"job {number}", number)
        finish(report, "own", "of a child")

    await asyncio.gather(*(work(number) for number in range(5)))
    assert [report.get_log(f"job {number}") for number in range(5)] == list("01234")
    assert report.get_log("own") == report.get_last_log() == "of the parent"


async def test_a_context_without_logs_of_its_own_reads_the_latest(report: Plain) -> None:
    async def work(line: str) -> None:
        finish(report, "job", line)

    await asyncio.create_task(work("first"))
    await asyncio.create_task(work("second"))
    assert report.get_last_log() == report.get_log("job") == "second"


async def test_a_child_reads_what_its_parent_had_finished(report: Plain) -> None:
    finish(report, "check", "denied")

    async def explain() -> tuple[str, str]:
        await asyncio.sleep(0)
        return report.get_last_log(), await asyncio.to_thread(report.get_last_log)

    async def other() -> None:
        finish(report, "check", "granted")

    explained, _ = await asyncio.gather(explain(), other())
    assert explained == ("denied", "denied")


def test_threads_have_logs_of_their_own(report: Plain) -> None:
    threads = 8
    barrier = threading.Barrier(threads)

    def work(number: int) -> tuple[str, list[Entry]]:
        with pytest.raises(KeyError):
            report.log("nothing is active here")
        report.start_log("job")
        for _ in range(5):
            barrier.wait()
            report.log(number)
        return report.end_log()

    report.start_log("job")
    with ThreadPoolExecutor(threads) as pool:
        ended = list(pool.map(work, range(threads)))
    assert ended == [("job", [str(number)] * 5) for number in range(threads)]
    assert report.end_log() == ("job", [])


def test_a_thread_reads_what_others_finished(report: Plain) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(finish, report, "job", "done").result()
    assert report.get_last_log() == report.get_log("job") == "done"


async def test_to_thread_has_a_copy_of_the_context(report: Plain) -> None:
    report.start_log("job")
    report.log("outside")

    def work() -> tuple[str, list[Entry]]:
        report.log("inside")
        return report.end_log()

    assert await asyncio.to_thread(work) == ("job", ["outside", "inside"])
    assert report.end_log() == ("job", ["outside"])


def via_sync_to_async(call: Callable[..., Any], *args: Any) -> Any:
    """Call in a thread, from an event loop that runs in another."""

    async def hop() -> Any:
        return await sync_to_async(call)(*args)

    return async_to_sync(hop)()


def via_async_to_sync(call: Callable[..., Any], *args: Any) -> Any:
    """Call on an event loop."""

    async def hop() -> Any:
        await asyncio.sleep(0)
        return call(*args)

    return async_to_sync(hop)()


def via_both(call: Callable[..., Any], *args: Any) -> Any:
    """Call on an event loop, from a thread, from an event loop."""
    return via_sync_to_async(via_async_to_sync, call, *args)


def via_a_pool(call: Callable[..., Any], *args: Any) -> Any:
    async def hop() -> Any:
        return await sync_to_async(call, thread_sensitive=False)(*args)

    return async_to_sync(hop)()


HOPS = [via_sync_to_async, via_async_to_sync, via_both, via_a_pool]


@pytest.mark.parametrize("hop", HOPS)
def test_logs_travel_through_hops_both_ways(report: Plain, hop: Callable[..., Any]) -> None:
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
    with pytest.raises(KeyError):
        report.log("nothing is active")


@pytest.mark.parametrize("hop", HOPS)
def test_a_log_that_was_ended_in_a_hop_counts_as_this_contexts_own(
    report: Plain, hop: Callable[..., Any]
) -> None:
    hop(finish, report, "job", "own")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(finish, report, "job", "of another").result()
    assert report.get_last_log() == report.get_log("job") == "own"


@pytest.mark.parametrize("hop", HOPS)
def test_hops_carry_even_what_differs_in_tags_only(report: Plain, hop: Callable[..., Any]) -> None:
    finish(report, "job", "line")
    hop(partial(finish, report, "job", "line", tag="inside"))
    assert tagged(report.get_last_log(raw=True)) == [("line", ("inside",))]


@pytest.mark.parametrize("hop", HOPS)
def test_hops_carry_even_what_differs_in_order_only(report: Plain, hop: Callable[..., Any]) -> None:
    def finish_all(*names: str) -> None:
        for name in names:
            finish(report, name, f"of {name}")

    period = logs._LONGEST_CHAIN + 1
    for _ in range(period):  # wherever in the period it begins
        finish_all("one", "other")
        hop(finish_all, *["other"] * (period - 1), "one")
        assert report.get_last_log() == "of one"


def test_of_two_logs_the_second_is_the_last_one(report: Plain) -> None:
    both = tuple((name, ((Entry(f"of {name}"),),), ()) for name in ("one", "two"))
    contextvars.Context().run(logs.finish, report, both)
    assert report.get_last_log() == "of two"
    assert report.get_log("one") == "of one"


def test_the_last_log_of_this_context_stays_when_what_came_after_it_is_no_more(
    report: Plain,
) -> None:
    def work() -> None:
        finish(report, "early", "of this context")
        gone = Plain()
        finish(gone, "job")
        other = Plain()
        finish(other, "job")
        del gone
        gc.collect()
        for number in range(2 * logs._LONGEST_CHAIN):
            finish(other, f"job {number}")
        contextvars.copy_context().run(finish, report, "late", "of another context")
        assert report.get_last_log() == "of this context"

    contextvars.Context().run(work)


def test_a_context_does_not_keep_the_logs_of_what_is_no_more() -> None:
    def work() -> None:
        gone = Plain()
        for number in range(3_000):
            finish(gone, f"job {number}")
        del gone
        gc.collect()
        report = Plain()
        for number in range(100):
            finish(report, f"job {number}")
        layers, chain, _ = logs._history.get()
        assert sum(size for _, size in layers) <= 100
        assert report.get_log("job 7") == ""
        assert chain is None or chain[0]() is not None

    contextvars.Context().run(work)


@pytest.mark.parametrize("hop", HOPS)
def test_long_logs_travel_as_well(report: Plain, hop: Callable[..., Any]) -> None:
    report.start_log("job")
    for number in range(5_000):
        report.log(number)
    hop(report.log, "inside")
    assert len(report.end_log()[1]) == 5_001


def log_variables() -> dict[contextvars.ContextVar[Any], Any]:
    context = contextvars.copy_context()
    return {var: context[var] for var in context if var.name.startswith("djem_async")}


def test_contexts_compare_by_identity(report: Plain) -> None:
    # Most versions of asgiref carry a context variable back from a hop if its value compares
    # unequal. By value, logs that differ in tags only are equal, and long ones recurse too deep.
    def logged(last: str | None) -> Any:
        def log() -> Any:
            report.start_log("job")
            for number in range(5_000):
                report.log(number)
            report.log("last", tag=last)
            return log_variables()

        return contextvars.Context().run(log)

    first, second = logged(None), logged("tag")
    assert first
    assert all(first[var] != second[var] for var in first)


async def test_a_timeout_changes_nothing(report: Plain) -> None:
    report.start_log("job")

    async def work() -> None:
        async with asyncio.timeout(0):
            report.log("inside")
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        await work()
    assert report.end_log() == ("job", ["inside"])


# Copies


@pytest.mark.parametrize("duplicate", copies())
@pytest.mark.parametrize("kind", [Plain, Data, User])
def test_a_copy_has_no_logs(kind: type[Any], duplicate: Callable[[Any], Any]) -> None:
    original = kind()
    finish(original, "finished", "line")
    original.start_log("active")
    original.log("before")

    duplicated = duplicate(original)
    for call, _ in ERRORS:
        with pytest.raises(KeyError):
            call(duplicated)
    finish(duplicated, "active", "of the copy")

    original.log("after")
    assert original.end_log() == ("active", ["before", "after"])
    assert duplicated.get_log("active") == "of the copy"
    assert original.get_log("finished") == "line"


def test_a_copy_is_equal_to_its_original() -> None:
    data = Data([1, 2])
    finish(data, "export", "line")
    assert copy.deepcopy(data) == copy.copy(data) == data


# Memory


@pytest.mark.parametrize("end", [Plain.end_log, Plain.discard_log, lambda report: None])
def test_a_long_lived_context_keeps_no_instance_alive_and_does_not_grow(
    end: Callable[[Plain], object],
) -> None:
    def use_many(count: int) -> int:
        died = []
        for number in range(count):
            report = Plain()
            died.append(weakref.ref(report))
            report.start_log(f"log {number}")
            report.log(*range(10))
            end(report)
            del report
        assert not any(reference() for reference in died)
        return context_size()

    few = contextvars.copy_context().run(use_many, 100)
    many = contextvars.copy_context().run(use_many, 5_000)
    assert many <= few + 50


def test_instances_that_die_together_are_forgotten_as_others_come() -> None:
    def use_many() -> list[int]:
        sizes = []
        for _ in range(20):
            together = [Plain() for _ in range(200)]
            for report in together:
                finish(report, "job", "line")
            sizes.append(context_size())
        return sizes

    sizes = contextvars.copy_context().run(use_many)
    assert max(sizes[5:]) <= 2 * max(sizes[:5])


def test_a_log_that_ends_does_not_copy_all_others(report: Plain) -> None:
    # Each makes a new immutable value: memory, and work, must not grow with the square.
    def large_dicts() -> set[int]:
        seen: dict[int, object] = {}
        left: list[object] = list(log_variables().values())
        while left:
            item = left.pop()
            if id(item) not in seen and not isinstance(item, type):
                seen[id(item)] = item
                left.extend(gc.get_referents(item))
        return {id(item) for item in seen.values() if isinstance(item, dict) and len(item) > 1_000}

    for number in range(3_000):
        finish(report, f"log {number}", "line")
    assert context_size() < 3_000 * 10
    before = large_dicts()
    for number in range(100):
        finish(report, f"further log {number}", "line")
    assert before
    assert before <= large_dicts()


# What is no text


@pytest.mark.parametrize("name", [None, 7, b"name", ["name"], lazystr("name")])
def test_the_name_of_a_log_must_be_a_string(name):
    report = Plain()
    with pytest.raises(TypeError, match=r"^The name of a log must be a string, not \w+\.$"):
        report.start_log(name)
    with pytest.raises(KeyError, match="No active log"):
        report.end_log()


class Quiet(str):
    """Its hash and equality are of its own."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self.lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(self.lower())


def test_the_name_of_a_log_is_its_text():
    report = Plain()
    for name in ("Name", "name"):
        report.start_log(Quiet(name))
        report.log(name)
    assert [report.end_log(), report.end_log()] == [("name", ["name"]), ("Name", ["Name"])]
    for name in ("Name", "name"):
        assert report.get_log(Quiet(name)) == report.get_log(name) == name
    with pytest.raises(KeyError, match="NAME"):
        report.get_log(Quiet("NAME"))


@pytest.mark.parametrize("tag", [["a"], ("a",), 7, b"a", True])
def test_a_tag_must_be_a_string(tag):
    report = Plain()
    report.start_log("log")
    with pytest.raises(
        TypeError, match=r"^`tag` must be a string, not .*Log the lines of each tag"
    ):
        report.log("line", tag=tag)
    assert report.end_log() == ("log", [])  # nothing was written


def test_an_access_method_may_ask_for_a_log_that_automatic_logging_has_not_made():
    report = Plain()
    with LogScope(report):
        assert report.get_last_log() == ""
        assert report.get_last_log(raw=True) == []
        report.start_log("own")
        with pytest.raises(KeyError, match="No finished logs"):
            report.get_last_log()
        report.end_log()
    assert report.get_log("own") == ""


@pytest.mark.parametrize("lines", [[], ["a line"]])
def test_a_scope_that_has_ended_is_over_in_every_context(lines: list[str]) -> None:
    item = Plain()
    with LogScope(item, "scope"):
        if lines:
            item.log(*lines)
        context = contextvars.copy_context()
    with pytest.raises(KeyError, match="No active log to finish"):
        context.run(item.end_log)


def test_a_scope_that_has_ended_keeps_nothing_alive() -> None:
    with LogScope(Plain()) as outer, LogScope(Plain()) as inner:
        pass
    assert (outer._before, outer._after, inner._before, inner._after) == ((), (), (), ())


def test_a_scope_leaves_behind_what_is_no_more() -> None:
    kept, gone = Plain(), Plain()
    kept.start_log("kept")
    gone.start_log("left active")
    del gone
    gc.collect()
    assert len(logs._active.get()) == 2
    with LogScope(kept):
        assert len(logs._active.get()) == 2  # with the scope
    assert [frame.name for frame in logs._active.get()] == ["kept"]
    kept.end_log()


def test_layers_with_the_same_logs_are_not_equal() -> None:
    """Some versions of asgiref leave a variable as it is where the new value equals it."""
    assert logs._Layer() != logs._Layer()
    assert not (logs._Layer() == logs._Layer())  # noqa: SIM201 - the other operator


def test_what_is_public_is_named() -> None:
    assert sorted(logs.__all__) == ["Entry", "Loggable"]


@pytest.mark.parametrize("number", [1, 20, 200])
def test_what_other_contexts_finish_later_is_not_read_here(number: int) -> None:
    item = Plain()

    def finish_all(text: str) -> None:
        for each in range(number):
            item.start_log(f"log {each}")
            item.log(f"{text} {each}")
            item.end_log()

    def read_all() -> None:
        finish_all("here")
        contextvars.Context().run(finish_all, "elsewhere")
        assert item.get_last_log() == f"here {number - 1}"
        for each in range(number):
            assert item.get_log(f"log {each}") == f"here {each}"

    contextvars.copy_context().run(read_all)
