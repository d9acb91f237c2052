"""The rules, driven step by step: no database, no user, no event loop."""

from collections.abc import Generator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from djem_async._decision import decide, decide_for_user, first_grant

Question = str
Steps = Generator[Question, Any, Any]


def question(name: Question) -> Steps:
    return (yield name)


def drive(flow: Steps, answers: dict[Question, Any]) -> tuple[Any, list[Question]]:
    """Answer each question of a flow; return its result and what it asked, in order."""
    asked: list[Question] = []
    try:
        name = next(flow)
        while True:
            asked.append(name)
            answer = answers[name]
            name = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        return end.value, asked


class Check(SimpleNamespace):
    """An object-level check, of an active ordinary user unless told otherwise."""

    is_active = True
    is_implicit = False
    defined: Sequence[str] = ()

    def model_level(self) -> Steps:
        return question("model")

    def methods(self, sources: Sequence[str]) -> Sequence[str]:
        return [source for source in sources if source in self.defined]

    def ask(self, source: str) -> Steps:
        return question(source)


BOTH = ("user", "group")


@pytest.mark.parametrize(
    ("defined", "answers", "granted", "asked"),
    [
        # Nobody to ask: the object level is open.
        ((), {"model": True}, True, ["model"]),
        ((), {"model": False}, False, ["model"]),
        # Without the model level no access method runs.
        (BOTH, {"model": False}, False, ["model"]),
        # One method decides.
        (("user",), {"model": True, "user": True}, True, ["model", "user"]),
        (("user",), {"model": True, "user": False}, False, ["model", "user"]),
        (("group",), {"model": True, "group": True}, True, ["model", "group"]),
        (("group",), {"model": True, "group": False}, False, ["model", "group"]),
        # Either is enough, and the groups are asked only if the user is not granted.
        (BOTH, {"model": True, "user": True}, True, ["model", "user"]),
        (BOTH, {"model": True, "user": False, "group": True}, True, ["model", *BOTH]),
        (BOTH, {"model": True, "user": False, "group": False}, False, ["model", *BOTH]),
    ],
)
def test_who_is_asked_and_what_the_answers_mean(defined, answers, granted, asked):
    assert drive(decide(Check(defined=defined)), answers) == (granted, asked)


@pytest.mark.parametrize(
    ("flags", "granted"),
    [
        ({"is_active": False}, False),
        ({"is_active": False, "is_implicit": True}, False),
        ({"is_implicit": True}, True),
    ],
)
def test_flags_of_the_user_stand_above_access_methods(flags, granted):
    check = Check(defined=BOTH, **flags)
    assert drive(decide(check), {"model": True}) == (granted, ["model"])


def test_flags_of_the_user_are_read_after_the_model_level_is_known():
    check = Check(is_active=True)
    flow = decide(check)
    assert next(flow) == "model"
    check.is_active = False
    with pytest.raises(StopIteration) as end:
        flow.send(True)
    assert end.value.value is False


@pytest.mark.parametrize(
    ("sources", "answers", "granted"),
    [
        (("user",), {"model": True, "user": False}, False),
        (("group",), {"model": True, "group": True}, True),
    ],
)
def test_sources_that_do_not_count_are_not_asked(sources, answers, granted):
    result = drive(decide(Check(defined=BOTH), sources), answers)
    assert result == (granted, list(answers))


@pytest.mark.parametrize("source", BOTH)
def test_a_method_that_does_not_count_might_as_well_be_undefined(source):
    (other,) = set(BOTH) - {source}
    assert drive(decide(Check(defined=(other,)), (source,)), {"model": True}) == (True, ["model"])


@pytest.mark.parametrize("error", [ValueError("x"), PermissionDenied("x")])
def test_an_exception_of_any_question_ends_the_decision(error):
    for answers in ({"model": error}, {"model": True, "user": error}):
        with pytest.raises(type(error)) as raised:
            drive(decide(Check(defined=BOTH)), answers)
        assert raised.value is error


class UserCheck(SimpleNamespace):
    """A check across two backends, of an ordinary user at the model level unless told otherwise."""

    is_active_superuser = False
    is_universal = False
    is_object_level = False
    backends = ("first", "second")

    def answers(self) -> Iterator[Steps]:
        return (question(name) for name in self.backends)

    def note(self, line: str) -> None:
        self.line = line


@pytest.mark.parametrize("is_universal", [False, True])
@pytest.mark.parametrize("is_object_level", [False, True])
@pytest.mark.parametrize(
    ("answers", "granted"),
    [
        ({"first": True}, True),
        ({"first": False, "second": True}, True),
        ({"first": False, "second": False}, False),
        ({"first": PermissionDenied()}, False),
        ({"first": False, "second": PermissionDenied()}, False),
    ],
)
def test_backends_are_asked_until_one_grants_or_vetoes(
    is_universal, is_object_level, answers, granted
):
    check = UserCheck(is_universal=is_universal, is_object_level=is_object_level)
    assert drive(decide_for_user(check), answers) == (granted, list(answers))
    assert not hasattr(check, "line")


@pytest.mark.parametrize(
    ("is_universal", "is_object_level", "line"),
    [
        (False, False, "Active superuser: Implicit permission"),
        (False, True, "Active superuser: Implicit permission"),
        (True, False, "Active superuser: Implicit permission (model-level)"),
    ],
)
def test_an_active_superuser_is_granted_without_asking(is_universal, is_object_level, line):
    check = UserCheck(
        is_active_superuser=True, is_universal=is_universal, is_object_level=is_object_level
    )
    assert drive(decide_for_user(check), {}) == (True, [])
    assert check.line == line


@pytest.mark.parametrize("granted", [True, False])
def test_universal_olp_asks_about_an_object_for_superusers_too(granted):
    check = UserCheck(is_active_superuser=True, is_universal=True, is_object_level=True)
    answers = {"first": False, "second": granted}
    assert drive(decide_for_user(check), answers) == (granted, ["first", "second"])
    assert not hasattr(check, "line")


def test_other_exceptions_of_a_backend_propagate():
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as raised:
        drive(decide_for_user(UserCheck()), {"first": error})
    assert raised.value is error


def test_without_backends_nothing_is_granted():
    assert drive(first_grant([]), {}) == (False, [])
