"""Holds the reference to what the documentation promises, in small tables.

`tests.reference` judges the library, so it is judged here by what is written out by hand. Nothing
here touches the library or Django.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import reference
from tests.reference import (
    BOTH,
    Database,
    ModelBackend,
    NotADecisionError,
    Object,
    ObjectPermissionsBackend,
    PermissionDenied,
    PermissionRecursionError,
    Settings,
    Unawaited,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PERM = "inventory.delete_product"
MODEL_LEVEL, OBJECT_LEVEL = ModelBackend(), ObjectPermissionsBackend()


def person(
    *,
    direct: Iterable[str] = (PERM,),
    by_groups: Iterable[str] = (),
    universal: bool = False,
    verbosity: int = 0,
    backends: Iterable[Any] = (MODEL_LEVEL, OBJECT_LEVEL),
    **flags: Any,
) -> User:
    held = {"user": set(direct), "group": set(by_groups)}
    settings = Settings(universal, verbosity, list(backends))
    return User(settings, Database({PERM, "inventory.add_product"}, held), **flags)


def product(*, pk: Any = 1375, **about: Any) -> Object:
    """Make an object; ``user`` and ``group`` are its access methods, or what they return."""
    methods = {
        source: answer if callable(answer) else lambda user, answer=answer: answer
        for source in BOTH
        if (answer := about.pop(source, ...)) is not ...
    }
    about.setdefault("perms", frozenset({PERM}))
    return Object(
        about.pop("model", "Product"),
        pk,
        text="PROD123",
        method=lambda source, codename: (
            methods.get(source) if codename == "delete_product" else None
        ),
        **about,
    )


def raising(error: type[Exception]) -> Callable[[User], Any]:
    def method(user: User) -> Any:
        raise error("wrong")

    return method


def counting(answer: Any = True) -> tuple[Callable[[User], Any], list[User]]:
    calls: list[User] = []

    def method(user: User) -> Any:
        calls.append(user)
        return answer

    return method, calls


def asked(found: User | None = None) -> Any:
    return pytest.fail("An access method was asked.")


# Section 1: access methods


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        (True, True),
        (False, False),
        (None, False),
        (1, True),
        (0, False),
        ("", False),
        ([0], True),
        (raising(PermissionDenied), False),
    ],
)
@pytest.mark.parametrize("source", BOTH)
def test_the_decision_is_the_truth_value_of_the_answer(source, answer, granted):
    assert person().has_perm(PERM, product(**{source: answer})) is granted


@pytest.mark.parametrize(
    ("answer", "sync", "native"),
    [
        (Unawaited(True), NotADecisionError, True),
        (Unawaited(False), NotADecisionError, False),
        (Unawaited(None), NotADecisionError, False),
        (iter(()), NotADecisionError, NotADecisionError),
    ],
)
def test_a_coroutine_is_never_an_answer(answer, sync, native):
    for is_async, right in ((False, sync), (True, native)):
        user = person(is_async=is_async)
        if right is NotADecisionError:
            with pytest.raises(NotADecisionError):
                user.has_perm(PERM, product(user=answer))
        else:
            assert user.has_perm(PERM, product(user=answer)) is right


def test_a_function_is_never_an_answer():
    with pytest.raises(NotADecisionError):
        person().has_perm(PERM, product(user=lambda user: bool))


@pytest.mark.parametrize(
    ("by_user", "by_group", "granted"),
    [
        (True, True, True),
        (True, False, True),
        (False, True, True),
        (False, False, False),
        (None, None, False),
        (True, ..., True),
        (False, ..., False),
        (..., True, True),
        (..., False, False),
        (..., ..., True),
    ],
)
def test_either_method_granting_is_enough_and_none_leaves_it_open(by_user, by_group, granted):
    assert person().has_perm(PERM, product(user=by_user, group=by_group)) is granted


def test_the_group_method_is_asked_only_if_the_user_method_did_not_grant():
    assert person().has_perm(PERM, product(user=True, group=asked))


def test_any_other_exception_propagates_remembers_nothing_and_leaves_no_log_active():
    user, failing = person(verbosity=1), product(user=raising(ValueError))
    with pytest.raises(ValueError, match="wrong"):
        user.has_perm(PERM, failing)
    assert not user.active
    assert [key for key in user.memory if key not in BOTH] == []


def test_a_log_line_is_always_safe_in_an_access_method_and_goes_nowhere_when_off():
    def method(user: User) -> bool:
        user.log("line")
        return not user.get_last_log()

    user = person()
    assert user.has_perm(PERM, product(user=method))
    assert not user.finished


def test_a_check_that_enters_itself_raises():
    box = product(user=lambda user: user.has_perm(PERM, again))
    again = product(user=lambda user: user.has_perm(PERM, box))  # the same row
    for verbosity in (0, 1, 2):
        with pytest.raises(PermissionRecursionError):
            person(verbosity=verbosity).has_perm(PERM, box)


def test_a_check_may_enter_one_of_another_object_or_permission():
    inner = product(pk=2, user=True)
    assert person().has_perm(PERM, product(user=lambda user: user.has_perm(PERM, inner)))
    outer = product(user=lambda user: user.has_perm("inventory.add_product"))
    assert person(direct=[PERM, "inventory.add_product"]).has_perm(PERM, outer)


# Sections 2 and 3: who is asked


@pytest.mark.parametrize("universal", [False, True])
@pytest.mark.parametrize(
    ("flags", "model_level", "object_level"),
    [
        ({}, True, "asked"),
        ({"direct": []}, False, False),
        ({"direct": [], "by_groups": [PERM]}, True, "asked"),
        ({"is_active": False}, False, False),
        ({"is_superuser": True, "direct": []}, True, {False: True, True: "asked"}),
        ({"is_superuser": True, "is_active": False}, False, False),
        ({"is_active": False, "is_anonymous": True, "has_mixin": False}, False, False),
        ({"has_mixin": False}, True, "asked"),
        ({"has_mixin": False, "is_superuser": True}, True, True),  # Django grants it itself
    ],
)
def test_who_is_granted_and_who_is_asked(flags, model_level, object_level, universal):
    right = object_level[universal] if isinstance(object_level, dict) else object_level
    assert person(universal=universal, **flags).has_perm(PERM) is model_level
    for answer in (True, False):
        method, calls = counting(answer)
        granted = person(universal=universal, **flags).has_perm(PERM, product(user=method))
        assert granted is (answer if right == "asked" else right)
        assert len(calls) == (right == "asked")


def test_the_object_backend_has_no_say_without_a_model_instance():
    user = person()
    assert OBJECT_LEVEL.has_perm(user, PERM, None) is False
    assert OBJECT_LEVEL.has_perm(user, PERM, Object(None)) is False
    assert user.has_perm(PERM, Object(None)) is False


class Other:
    """Another backend, with an answer or an error for each level."""

    def __init__(self, at_model: Any, on_object: Any) -> None:
        self.says = at_model, on_object

    def has_perm(self, user: User, perm: str, obj: Object | None) -> Any:
        answer = self.says[obj is not None]
        if answer is PermissionDenied:
            raise PermissionDenied
        return answer

    def permissions(self, *_args: Any) -> set[str]:
        return {"other.perm"}


@pytest.mark.parametrize(
    ("backends", "flags", "granted"),
    [
        ([Other(True, False), OBJECT_LEVEL], {"direct": []}, True),
        ([Other(True, False), OBJECT_LEVEL], {"is_active": False}, False),
        ([Other(False, True), MODEL_LEVEL, OBJECT_LEVEL], {"direct": []}, True),
        ([MODEL_LEVEL, OBJECT_LEVEL, Other(False, True)], {"direct": []}, True),
        ([Other(PermissionDenied, False), MODEL_LEVEL, OBJECT_LEVEL], {}, False),
        ([Other(False, PermissionDenied), MODEL_LEVEL, OBJECT_LEVEL], {}, False),
        ([MODEL_LEVEL, OBJECT_LEVEL, Other(PermissionDenied, PermissionDenied)], {}, True),
        ([Other(True, True)], {"is_active": False}, True),
    ],
)
def test_every_backend_has_its_say_in_order(backends, flags, granted):
    assert person(backends=backends, **flags).has_perm(PERM, product(user=True)) is granted


def test_all_permissions_of_several_are_needed():
    user = person()
    assert user.has_perms([PERM, PERM])
    assert not user.has_perms([PERM, "inventory.add_product"])
    assert user.has_perms([])


@pytest.mark.parametrize(
    ("flags", "label", "right"),
    [
        ({}, "inventory", True),
        ({}, "other", False),
        ({"is_active": False}, "inventory", False),
        ({"is_superuser": True}, "other", True),
        ({"backends": [OBJECT_LEVEL]}, "inventory", False),
    ],
)
def test_permissions_of_a_module(flags, label, right):
    assert person(**flags).has_module_perms(label) is right


# Sets of permissions


@pytest.mark.parametrize(
    ("by_user", "by_group", "flags", "sets"),
    [
        (True, False, {}, (1, 0, 1)),
        (False, True, {}, (0, 1, 1)),
        (False, False, {}, (0, 0, 0)),
        (..., True, {}, (1, 1, 1)),  # the user form ignores the group's method: it is open
        (False, ..., {}, (0, 1, 0)),
        (..., ..., {}, (1, 1, 1)),
        (..., ..., {"direct": []}, (0, 0, 0)),
        (..., ..., {"is_active": False}, (0, 0, 0)),
        (..., ..., {"is_anonymous": True}, (0, 0, 0)),
        (False, False, {"is_superuser": True}, (1, 1, 1)),
        (False, False, {"is_superuser": True, "universal": True}, (0, 0, 0)),
    ],
)
def test_sets_hold_what_a_check_would_grant(by_user, by_group, flags, sets):
    for sources, right in zip((["user"], ["group"], BOTH), sets, strict=True):
        found = person(**flags).permissions(product(user=by_user, group=by_group), sources)
        assert found == ({PERM} if right else set())


def test_sets_without_an_object_are_of_the_model_level_and_of_all_backends():
    user = person(by_groups=["inventory.add_product"], backends=[MODEL_LEVEL, Other(0, 0)])
    assert user.permissions(None, ["user"]) == {PERM, "other.perm"}
    assert user.permissions(None, ["group"]) == {"inventory.add_product", "other.perm"}
    assert user.permissions(None) == {PERM, "inventory.add_product", "other.perm"}
    assert person().permissions(Object(None)) == set()


# Section 4: what is remembered


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        ({}, True),  # another instance of the row
        ({"pk": 1376}, False),
        ({"model": "ProductProxy"}, False),
        ({"alias": "other"}, False),
        ({"is_saved": False}, False),
        ({"pk": None}, False),
        ({"pk": (1, None)}, False),
    ],
)
def test_one_decision_per_source_permission_class_database_and_key(other, is_shared):
    user = person()
    assert user.has_perm(PERM, product(user=True))
    assert user.has_perm(PERM, product(user=False, **other)) is is_shared


def test_decisions_live_as_long_as_the_instance_until_a_clear():
    user, (method, calls) = person(), counting(False)
    for _ in range(2):
        assert not user.has_perm(PERM, product(user=method))
    assert len(calls) == 1
    user.clear_perm_cache()
    assert user.has_perm(PERM, product(user=True))


def test_a_decision_is_good_only_with_the_model_level_and_the_flags_of_now():
    user = person()
    assert user.has_perm(PERM, product(user=True))
    user.is_active = False
    assert not user.has_perm(PERM, product(user=True))
    user.is_active = True
    user.memory["user"] = set()
    assert not user.has_perm(PERM, product(user=True))


def test_permissions_held_are_known_from_the_first_time_until_a_clear():
    user = person(direct=[])
    assert not user.has_perm(PERM)
    user.database.held["user"] = {PERM}
    assert not user.has_perm(PERM)
    user.clear_perm_cache()
    assert user.has_perm(PERM)


def test_what_was_computed_before_a_clear_is_not_stored_after_it():
    def method(user: User) -> bool:
        user.clear_perm_cache()
        return True

    user = person()
    assert user.has_perm(PERM, product(user=method))
    assert not user.has_perm(PERM, product(user=False))


# Section 5: logs


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda log: log.end_log(), KeyError, "No active log to finish"),
        (lambda log: log.discard_log(), KeyError, "No active log to discard"),
        (lambda log: log.log("x"), KeyError, "No active log to append to. Has one been started?"),
        (lambda log: log.get_log("X"), KeyError, 'No log found for "X". Has it been finished?'),
        (lambda log: log.get_last_log(), KeyError, "No finished logs to retrieve"),
        (
            lambda log: [log.start_log("X"), log.start_log("X")],
            ValueError,
            'A log named "X" is already active',
        ),
    ],
)
def test_misuse_of_logs(call, error, message):
    with pytest.raises(error) as caught:
        call(reference.Loggable())
    assert caught.value.args == (message,)


def test_logs_nest_and_the_latest_of_a_name_counts():
    log = reference.Loggable()
    log.start_log("outer")
    log.log("a", tag="t")
    log.start_log("inner")
    log.log("b")
    log.end_log()
    log.log("c")
    assert log.end_log() == ("outer", [("a", ("t",)), ("c", ())])
    assert log.get_last_log() == log.get_log("outer")
    log.start_log("inner")
    log.end_log()
    assert log.get_last_log() == log.get_log("inner") == []
    log.start_log("dropped")
    log.discard_log()
    assert list(log.finished) == ["outer", "inner"]


# Section 6: the logs of checks


def lines(log: list[reference.Entry]) -> list[str]:
    """Show entries as the documentation does, those with the tag "auto" marked by a star."""
    return [("*" if entry.tags == ("auto",) else "") + entry.text for entry in log]


HEADER = [f"*Permission: {PERM}", "*User: user.name (54)"]
OBJECT = ["*Object: PROD123 (1375)", "*"]
GRANTED, DENIED = "*\nRESULT: Permission Granted", "*\nRESULT: Permission Denied"
MODEL_GRANTED, MODEL_DENIED = "*Model-level Result: Granted\n", "*Model-level Result: Denied\n"
IMPLICIT = "*Active superuser: Implicit permission"
SUPER = {"is_superuser": True, "direct": []}


def reason(user: User) -> bool:
    user.log("Cannot delete active product lines")
    return False


REASON = "Cannot delete active product lines"


@pytest.mark.parametrize(
    ("flags", "method", "entries"),
    [
        ({}, reason, [MODEL_GRANTED, REASON, DENIED]),
        ({}, True, [MODEL_GRANTED, GRANTED]),
        ({}, ..., [MODEL_GRANTED, GRANTED]),
        ({"direct": []}, reason, [MODEL_DENIED, DENIED]),
        ({"is_active": False}, reason, [MODEL_DENIED, DENIED]),
        (SUPER, reason, [IMPLICIT, GRANTED]),
        (
            {"universal": True, **SUPER},
            reason,
            [f"{IMPLICIT} (model-level)", MODEL_GRANTED, REASON, DENIED],
        ),
    ],
)
def test_entries_of_an_object_level_check(flags, method, entries):
    for verbosity, header in ((1, []), (2, [*HEADER, *OBJECT])):
        user = person(verbosity=verbosity, **flags)
        for _ in range(2):  # the second is remembered
            user.has_perm(PERM, product(user=method))
            assert lines(user.get_last_log()) == header + entries
            assert lines(user.get_log(f"auto-{PERM}-1375")) == header + entries
            assert not user.active


@pytest.mark.parametrize(
    ("flags", "entries"),
    [
        ({}, [GRANTED]),
        ({"direct": []}, [DENIED]),
        (SUPER, [IMPLICIT, GRANTED]),
        ({"universal": True, **SUPER}, [f"{IMPLICIT} (model-level)", GRANTED]),
    ],
)
def test_entries_of_a_model_level_check(flags, entries):
    for verbosity, header in ((1, []), (2, [*HEADER, "*"])):
        user = person(verbosity=verbosity, **flags)
        user.has_perm(PERM)
        assert lines(user.get_last_log()) == lines(user.get_log(f"auto-{PERM}")) == header + entries


def test_the_model_level_check_inside_leaves_its_own_log_first_and_without_the_header():
    user = person(verbosity=2)
    user.has_perm(PERM, product(user=True))
    assert list(user.finished) == [f"auto-{PERM}", f"auto-{PERM}-1375"]
    assert lines(user.get_log(f"auto-{PERM}")) == [GRANTED]


def test_after_an_exception_the_log_is_ended_with_the_error():
    def failing(user: User) -> bool:
        user.log("before")
        raise ValueError("wrong")

    user = person(verbosity=1)
    with pytest.raises(ValueError, match="wrong"):
        user.has_perm(PERM, product(user=failing))
    assert lines(user.get_last_log()) == [MODEL_GRANTED, "before", "*\nRESULT: Error (ValueError)"]


def test_lines_logged_with_logging_off_are_replayed_when_it_is_on():
    user = person()
    user.has_perm(PERM, product(user=reason))
    user.settings.verbosity = 1
    user.has_perm(PERM, product(user=asked))
    assert lines(user.get_last_log()) == [MODEL_GRANTED, REASON, DENIED]


def test_with_logging_off_lines_go_to_the_log_that_is_active():
    user = person()
    user.start_log("mine")
    user.has_perm(PERM, product(user=reason))
    assert lines(user.end_log()[1]) == [REASON]


def test_sets_leave_no_object_level_log_and_log_the_model_level_as_usual():
    user = person(verbosity=2)
    user.start_log("mine")
    user.permissions(product(user=reason))
    assert lines(user.get_log(f"auto-{PERM}")) == [GRANTED]
    assert list(user.finished) == [f"auto-{PERM}"]
    assert user.end_log() == ("mine", [])


def test_a_log_that_an_access_method_leaves_active_is_dropped_and_a_finished_one_kept():
    def method(user: User) -> bool:
        for name in ("kept", "left"):
            user.start_log(name)
            user.log(name)
            if name == "kept":
                user.end_log()
        return True

    user = person(verbosity=1)
    user.has_perm(PERM, product(user=method))
    assert lines(user.get_last_log()) == [MODEL_GRANTED, GRANTED]
    assert lines(user.get_log("kept")) == ["kept"]
    assert not user.active


def test_an_access_method_cannot_end_the_log_of_its_check():
    def method(user: User) -> bool:
        with pytest.raises(KeyError, match="No active log to finish"):
            user.end_log()
        with pytest.raises(KeyError, match="No active log to discard"):
            user.discard_log()
        return True

    assert person(verbosity=1).has_perm(PERM, product(user=method))


def test_users_without_the_mixin_leave_no_logs():
    user = person(verbosity=2, has_mixin=False)
    assert user.has_perm(PERM, product(user=True))
    assert not user.finished
