"""What makes an answer a decision."""

import functools
from typing import Any

import pytest

from djem_async._flow import Call, truth
from djem_async.exceptions import NotADecisionError


def a_generator() -> Any:
    yield True


async def an_async_generator() -> Any:
    yield True


class Method:
    def __call__(self) -> None: ...

    def __repr__(self) -> str:
        return "<a callable object>"


class Empty:
    def __len__(self) -> int:
        return 0


def ended(flow: Any, *, answer: Any = None) -> Any:
    with pytest.raises(StopIteration) as end:
        flow.send(answer)
    return end.value.value


@pytest.mark.parametrize(("answer", "decision"), [(True, True), (False, False), (None, False)])
def test_plain_answers_are_decisions_at_once(answer, decision):
    assert ended(truth(answer, "method")) is decision


@pytest.mark.parametrize("answer", [1, 0, "", "no", [], {}, Empty(), object()])
def test_the_truth_value_of_other_answers_is_asked_for_by_a_call(answer):
    flow = truth(answer, "method")
    call = next(flow)
    assert (call.function, call.async_function, call.args) == (bool, None, (answer,))
    assert call.blocking
    assert ended(flow, answer=call.function(*call.args)) is bool(answer)


@pytest.mark.parametrize(
    "answer",
    [a_generator(), an_async_generator(), a_generator, "".join, len, Method().__call__],
    ids=["generator", "async generator", "function", "builtin method", "builtin", "method"],
)
def test_what_is_always_true_but_never_meant_is_refused(answer):
    with pytest.raises(NotADecisionError, match=r"^Thing\.method returned .* cannot be a decision"):
        next(truth(answer, "Thing.method"))


async def twin() -> None: ...


@pytest.mark.parametrize(
    ("call", "label"),
    [
        (Call(a_generator), "a_generator"),
        (Call(None, twin), "twin"),
        (Call(a_generator, twin), "a_generator"),
        (Call(Method().__call__), "Method.__call__"),
        (Call(Method()), "<a callable object>"),
        (Call(functools.partial(len, "a")), "functools.partial(<built-in function len>, 'a')"),
    ],
)
def test_a_call_is_labelled_by_what_is_called(call, label):
    assert call.label == label


@pytest.mark.parametrize(
    "answer", [map(str, []), filter(None, []), iter([]), functools.partial(bool), bool, len, Call]
)
def test_what_is_always_true_is_no_decision(answer):
    with pytest.raises(NotADecisionError, match=r"Thing\.method returned"):
        next(truth(answer, "Thing.method"))


def test_a_call_has_no_dictionary():
    assert not hasattr(Call(None), "__dict__")
