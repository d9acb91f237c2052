"""Tests of the logs that permission checks make by themselves, entry for entry."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.contrib.auth import models as auth
from django.core.exceptions import PermissionDenied
from django.db import connections

from djem_async.auth import ObjectPermissionsBackend
from djem_async.exceptions import PermissionRecursionError
from djem_async.logs import Entry, Loggable
from tests.conftest import grant, permission
from tests.testapp.models import OtherThing, PlainUser, Product, Supplier, Thing, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Api

PERM = "testapp.use_thing"

Lines = list[tuple[str, tuple[str, ...]]]


def auto(*lines: str) -> Lines:
    return [(line, ("auto",)) for line in lines]


def plain(*lines: str) -> Lines:
    return [(line, ()) for line in lines]


def log_of(user: Loggable, name: str | None = None) -> Lines:
    raw = user.get_last_log(raw=True) if name is None else user.get_log(name, raw=True)
    return [(str(entry), entry.tags) for entry in raw]


def header(verbosity: int, user: User, obj: Any = None, perm: str = PERM) -> Lines:
    if verbosity < 2:
        return []
    about_object = [] if obj is None else [f"Object: {obj} ({obj.pk})"]
    lines = [f"Permission: {perm}", f"User: user.name ({user.pk})", *about_object, ""]
    return auto(*lines)


def result(granted: bool) -> Lines:
    return auto(f"\nRESULT: Permission {'Granted' if granted else 'Denied'}")


MODEL_LEVEL_GRANTED = auto("Model-level Result: Granted\n")
MODEL_LEVEL_DENIED = auto("Model-level Result: Denied\n")


def assert_nothing_active(user: Loggable) -> None:
    with pytest.raises(KeyError, match="No active log"):
        user.log("line")


@pytest.fixture(params=[1, 2])
def verbosity(request: pytest.FixtureRequest, settings: Any) -> int:
    settings.DJEM_PERM_LOG_VERBOSITY = request.param
    return int(request.param)


@pytest.fixture
def _connections_of_threads() -> Iterator[None]:
    """Close the connections that async code has opened in a thread of its own."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def answering(answer: object, *lines: str, form: str = "def") -> Any:
    """Make an access method that logs lines and gives, or raises, an answer."""

    def decide(obj: Any, user: Any) -> object:
        if lines:
            user.log(*lines)
        if isinstance(answer, type | BaseException):
            raise answer
        return answer

    async def adecide(obj: Any, user: Any) -> object:
        await asyncio.sleep(0)
        return decide(obj, user)

    return decide if form == "def" else adecide


# The table


class Case(NamedTuple):
    """What is logged between the header and the result."""

    body: Lines
    granted: bool
    holds: bool = True  # the permission, at the model level
    answer: object = None  # of the access method, which logs "asked"; None is no method
    superuser: bool = False
    universal: bool = False
    active: bool = True


SUPERUSER = auto("Active superuser: Implicit permission")
UNIVERSAL = auto("Active superuser: Implicit permission (model-level)")
ASKED = plain("asked")

MODEL_LEVEL = {
    "granted": Case([], True),
    "denied": Case([], False, holds=False),
    "inactive": Case([], False, active=False),
    "superuser": Case(SUPERUSER, True, holds=False, superuser=True),
    "universal superuser": Case(UNIVERSAL, True, holds=False, superuser=True, universal=True),
    "inactive superuser": Case([], False, holds=False, superuser=True, active=False),
    "universal": Case([], True, universal=True),
}
OBJECT_LEVEL = {
    "granted": Case(MODEL_LEVEL_GRANTED + ASKED, True, answer=True),
    "denied": Case(MODEL_LEVEL_GRANTED + ASKED, False, answer=False),
    "PermissionDenied": Case(MODEL_LEVEL_GRANTED + ASKED, False, answer=PermissionDenied),
    "no access method": Case(MODEL_LEVEL_GRANTED, True),
    "denied at the model level": Case(MODEL_LEVEL_DENIED, False, holds=False, answer=True),
    "inactive": Case(MODEL_LEVEL_DENIED, False, active=False, answer=True),
    "superuser": Case(SUPERUSER, True, holds=False, superuser=True, answer=False),
    "universal superuser, granted": Case(
        UNIVERSAL + MODEL_LEVEL_GRANTED + ASKED,
        True,
        holds=False,
        superuser=True,
        universal=True,
        answer=True,
    ),
    "universal superuser, denied": Case(
        UNIVERSAL + MODEL_LEVEL_GRANTED + ASKED,
        False,
        holds=False,
        superuser=True,
        universal=True,
        answer=False,
    ),
    "universal superuser, no access method": Case(
        UNIVERSAL + MODEL_LEVEL_GRANTED, True, holds=False, superuser=True, universal=True
    ),
    "inactive superuser": Case(
        MODEL_LEVEL_DENIED, False, holds=False, superuser=True, active=False, answer=True
    ),
    "universal": Case(MODEL_LEVEL_GRANTED + ASKED, True, universal=True, answer=True),
}


@pytest.fixture
def case_user(case: Case, db: None, settings: Any) -> User:
    settings.DJEM_UNIVERSAL_OLP = case.universal
    user = User.objects.create_user("user.name", is_superuser=case.superuser, is_active=case.active)
    return grant(user, *[PERM][: case.holds])


@pytest.mark.parametrize("case", MODEL_LEVEL.values(), ids=MODEL_LEVEL)
def test_entries_of_a_model_level_check(
    api: Api, case: Case, case_user: User, verbosity: int
) -> None:
    expected = header(verbosity, case_user) + case.body + result(case.granted)
    for _ in range(2):  # the second is answered from Django's cache
        assert api(case_user).has_perm(PERM) is case.granted
        assert log_of(case_user) == log_of(case_user, f"auto-{PERM}") == expected
        assert_nothing_active(case_user)


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("case", OBJECT_LEVEL.values(), ids=OBJECT_LEVEL)
def test_entries_of_an_object_level_check(
    api: Api,
    case: Case,
    case_user: User,
    verbosity: int,
    form: str,
    thing: Thing,
    access_methods: Callable[..., None],
) -> None:
    if case.answer is not None:
        method = answering(case.answer, "asked", form=form)
        access_methods(Thing, _user_can_use_thing=method)
    expected = header(verbosity, case_user, thing) + case.body + result(case.granted)
    for _ in range(2):  # the second is answered from the cache
        assert api(case_user).has_perm(PERM, thing) is case.granted
        assert log_of(case_user) == log_of(case_user, f"auto-{PERM}-{thing.pk}") == expected
        assert_nothing_active(case_user)


@pytest.mark.parametrize("case", OBJECT_LEVEL.values(), ids=OBJECT_LEVEL)
def test_the_model_level_check_inside_leaves_its_own_log_without_a_header(
    api: Api, case: Case, case_user: User, verbosity: int, thing: Thing
) -> None:
    api(case_user).has_perm(PERM, thing)
    if case.superuser and case.active and not case.universal:
        with pytest.raises(KeyError):  # there was no such check
            case_user.get_log(f"auto-{PERM}")
        return
    inner = UNIVERSAL if case.superuser and case.active else []
    granted = MODEL_LEVEL_GRANTED[0] in case.body
    assert log_of(case_user, f"auto-{PERM}") == inner + result(granted)


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("user_answer", [True, False])
@pytest.mark.parametrize("group_answer", [True, False])
def test_the_lines_of_both_access_methods_are_logged_in_order(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    user_answer: bool,
    group_answer: bool,
    form: str,
    access_methods: Callable[..., None],
) -> None:
    def about_groups(obj: Thing, groups: Any) -> bool:
        user.log("groups asked")
        return group_answer

    access_methods(
        Thing,
        _user_can_use_thing=answering(user_answer, "user asked", form=form),
        _group_can_use_thing=about_groups,
    )
    asked = ["user asked"] if user_answer else ["user asked", "groups asked"]
    expected = header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + plain(*asked)
    for _ in range(2):
        granted = api(user).has_perm(PERM, thing)
        assert log_of(user) == expected + result(granted)


def test_lines_of_access_methods_keep_their_own_tags(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("reason", tag="mine")
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    for _ in range(2):
        api(user).has_perm(PERM, thing)
        assert user.get_last_log(tags=["mine"]) == "reason"
        assert "reason" not in user.get_last_log(tags=["auto"])


# The documented outputs

DOCUMENTED_1 = """\
Model-level Result: Granted

Cannot delete active product lines

RESULT: Permission Denied"""

DOCUMENTED_2 = f"""\
Permission: testapp.delete_product
User: user.name (54)
Object: PROD123 (1375)

{DOCUMENTED_1}"""

DOCUMENTED_TAGS = """\
[tag:auto] Permission: testapp.delete_product
[tag:auto] User: user.name (54)
[tag:auto] Object: PROD123 (1375)
[tag:auto]
[tag:auto] Model-level Result: Granted
[tag:auto]
Cannot delete active product lines
[tag:auto]
[tag:auto] RESULT: Permission Denied"""


@pytest.fixture
def product_user(db: None) -> User:
    user = User.objects.create_user("user.name", pk=54)
    return grant(user, "testapp.delete_product", "testapp.manage_supplier")


@pytest.fixture
def product(db: None) -> Product:
    supplier = Supplier.objects.create(pk=7, name="ACME")
    return Product.objects.create(pk=1375, code="PROD123", name="A product", supplier=supplier)


def with_tags(entries: list[Entry]) -> str:
    lines = []
    for entry in entries:
        tags = "".join(f"[tag:{tag}] " for tag in entry.tags)
        lines += [f"{tags}{line}".rstrip() for line in entry.split("\n")]
    return "\n".join(lines)


def test_the_documented_output(
    api: Api, product_user: User, product: Product, verbosity: int
) -> None:
    assert api(product_user).has_perm("testapp.delete_product", product) is False
    text = product_user.get_log("auto-testapp.delete_product-1375")
    assert text == product_user.get_last_log() == (DOCUMENTED_1, DOCUMENTED_2)[verbosity - 1]
    # The inner log has the documented name as well.
    assert product_user.get_log("auto-testapp.delete_product") == "\nRESULT: Permission Granted"


def test_the_documented_tags(api: Api, product_user: User, product: Product, settings: Any) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    api(product_user).has_perm("testapp.delete_product", product)
    assert with_tags(product_user.get_last_log(raw=True)) == DOCUMENTED_TAGS
    assert product_user.get_last_log(tags=["auto"]) == DOCUMENTED_2.replace(
        "Cannot delete active product lines\n", ""
    )


@pytest.mark.parametrize(
    ("fields", "managed", "reasons"),
    [
        ({"active": True}, True, ["Cannot delete active product lines"]),
        ({"active": False, "stock": 3}, True, ["Cannot delete products with stock on hand"]),
        ({"active": False}, True, ["Product can be deleted"]),
        (
            {"active": False},
            False,
            [
                "Permission: testapp.manage_supplier",
                "User: user.name (54)",
                "Object: ACME (7)",
                "",
                "Model-level Result: Granted\n",
                "\nRESULT: Permission Denied",
            ],
        ),
    ],
)
def test_the_documented_access_method_with_its_inner_check(
    api: Api,
    product_user: User,
    product: Product,
    verbosity: int,
    fields: dict[str, Any],
    managed: bool,
    reasons: list[str],
) -> None:
    Product.objects.update(**fields)
    product.refresh_from_db()
    product.supplier.managers.set([product_user] if managed else [])
    granted = reasons == ["Product can be deleted"]
    inner_is_logged = len(reasons) > 1
    skipped = 4 if inner_is_logged and verbosity == 1 else 0

    for _ in range(2):  # the second is answered from the cache
        assert api(product_user).has_perm("testapp.delete_product", product) is granted
        assert log_of(product_user) == (
            header(verbosity, product_user, product, "testapp.delete_product")
            + MODEL_LEVEL_GRANTED
            + plain(*reasons[skipped:])  # logged again, so without tags
            + result(granted)
        )
    if granted or inner_is_logged:
        assert log_of(product_user, "auto-testapp.manage_supplier-7") == (
            header(verbosity, product_user, product.supplier, "testapp.manage_supplier")
            + MODEL_LEVEL_GRANTED
            + result(granted)
        )


# Names


def test_the_name_ends_with_the_primary_key(
    api: Api, user: User, verbosity: int, access_methods: Callable[..., None]
) -> None:
    first, second = Thing.objects.create(pk=1375), Thing.objects.create(pk=1376)
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.pk == 1375)
    assert api(user).has_perms([PERM], first) is True
    assert api(user).has_perms([PERM], second) is False
    assert log_of(user, f"auto-{PERM}-1375")[-1:] == result(granted=True)
    assert log_of(user, f"auto-{PERM}-1376")[-1:] == result(granted=False)


def test_an_unsaved_object_is_named_none(api: Api, user: User, verbosity: int) -> None:
    thing = Thing(name="new")
    assert api(user).has_perm(PERM, thing) is True
    expected = header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + result(granted=True)
    assert log_of(user, f"auto-{PERM}-None") == expected
    if verbosity == 2:
        assert ("Object: new (None)", ("auto",)) in expected


def test_a_falsy_object_is_an_object(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, __bool__=lambda self: False, __len__=lambda self: 0)
    api(user).has_perm(PERM, thing)
    assert log_of(user) == (
        header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + result(granted=True)
    )


def test_what_is_no_model_instance_is_logged_as_well(api: Api, user: User, verbosity: int) -> None:
    assert api(user).has_perm(PERM, "text") is False
    name = f"auto-{PERM}-None"
    assert log_of(user, name)[-1:] == result(granted=False)
    assert MODEL_LEVEL_GRANTED[0] not in log_of(user, name)


def test_nested_checks_may_have_logs_of_one_name(
    api: Api, user: User, verbosity: int, access_methods: Callable[..., None]
) -> None:
    # Two unsaved objects, and objects of two models with the same primary key.
    def decide(obj: Thing, user: User) -> bool:
        if obj.name == "inner":
            user.log("inner asked")
            return False
        user.log("outer asked")
        user.has_perm(PERM, Thing(name="inner"))
        user.log(*user.get_last_log(raw=True))
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    outer = Thing(name="outer")
    assert api(user).has_perm(PERM, outer) is True
    inner_lines = [
        *header(verbosity, user, Thing(name="inner")),
        *MODEL_LEVEL_GRANTED,
        *plain("inner asked"),
        *result(granted=False),
    ]
    assert log_of(user) == (
        header(verbosity, user, outer)
        + MODEL_LEVEL_GRANTED
        + plain("outer asked", *(line for line, _ in inner_lines))
        + result(granted=True)
    )


# The user's own logs


@pytest.mark.parametrize("name", ["mine", f"auto-{PERM}", f"auto-{PERM}-1"])
def test_own_logs_are_left_alone_whatever_their_name(
    api: Api,
    user: User,
    verbosity: int,
    name: str,
    access_methods: Callable[..., None],
) -> None:
    access_methods(Thing, _user_can_use_thing=answering(False, "asked"))
    thing = Thing.objects.create(pk=1)
    user.start_log(name)
    user.log("before")
    for check in (
        lambda: api(user).has_perm(PERM),
        lambda: api(user).has_perm(PERM, thing),
        lambda: api(user).get_all_permissions(thing),
    ):
        check()
        with pytest.raises(ValueError, match="already active"):
            user.start_log(name)
    expected = header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + ASKED + result(granted=False)
    assert log_of(user, f"auto-{PERM}-1") == expected
    user.log("after")
    assert user.end_log() == (name, ["before", "after"])
    assert_nothing_active(user)


def test_logs_that_an_access_method_makes_are_kept(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("before")
        user.start_log("details")
        user.log("detail")
        user.end_log()
        user.log("after")
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    api(user).has_perm(PERM, thing)
    assert user.get_log("details") == "detail"
    assert log_of(user) == (
        header(verbosity, user, thing)
        + MODEL_LEVEL_GRANTED
        + plain("before", "after")
        + result(granted=False)
    )


def test_a_log_that_an_access_method_leaves_active_is_dropped(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("asked")
        user.start_log("left")
        user.log("lost")
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is False
    assert log_of(user) == (
        header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + ASKED + result(granted=False)
    )
    assert_nothing_active(user)
    user.start_log("left")
    assert user.end_log() == ("left", [])


def test_the_name_of_the_running_check_is_in_use(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        with pytest.raises(ValueError, match="already active"):
            user.start_log(f"auto-{PERM}-{obj.pk}")
        user.start_log(f"auto-{PERM}")  # that check is over
        user.end_log()
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is True


@pytest.mark.parametrize("form", ["def", "async def"])
def test_a_log_of_another_instance_stays_active(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    form: str,
    access_methods: Callable[..., None],
) -> None:
    class Report(Loggable):
        pass

    report = Report()

    def decide(obj: Thing, user: User) -> bool:
        user.log("before")
        report.start_log("report")
        report.log("inside")
        user.log("after")
        return False

    async def adecide(obj: Thing, user: User) -> bool:
        return decide(obj, user)

    access_methods(Thing, _user_can_use_thing=decide if form == "def" else adecide)
    user.start_log("mine")
    api(user).has_perm(PERM, thing)
    report.log("outside")
    assert report.end_log() == ("report", ["inside", "outside"])
    assert user.end_log() == ("mine", [])
    assert log_of(user, f"auto-{PERM}-{thing.pk}")[-3:] == (
        plain("before", "after") + result(granted=False)
    )


@pytest.mark.parametrize("end", [User.end_log, User.discard_log])
def test_an_access_method_cannot_end_the_log_of_its_check_or_of_the_caller(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    end: Callable[[User], object],
    access_methods: Callable[..., None],
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        with pytest.raises(KeyError, match="No active log to"):
            end(user)
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    user.start_log("mine")
    assert api(user).has_perm(PERM, thing) is False
    assert log_of(user) == (
        header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + result(granted=False)
    )
    assert user.end_log() == ("mine", [])


def test_checks_of_another_user_are_logged_there(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    other = grant(User.objects.create_user("other"), PERM)

    def decide(obj: Thing, asking: User) -> bool:
        if asking is other:
            asking.log("other asked")
            return False
        asking.log("before")
        granted = other.has_perm(PERM, obj)
        asking.log("after")
        return granted

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is False
    assert log_of(user)[-3:] == plain("before", "after") + result(granted=False)
    assert log_of(other)[-2:] == plain("other asked") + result(granted=False)
    assert_nothing_active(user)
    assert_nothing_active(other)


def test_a_model_level_check_inside_an_access_method_is_a_check_of_its_own(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    def decide(obj: Thing, user: User) -> bool:
        user.log("asked")
        return user.has_perm(PERM)

    access_methods(Thing, _user_can_use_thing=decide)
    api(user).has_perm(PERM, thing)
    assert log_of(user, f"auto-{PERM}") == header(verbosity, user) + result(granted=True)
    assert log_of(user) == (
        header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + ASKED + result(granted=True)
    )


# Off


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("configured", [True, False])
def test_switched_off_there_are_no_logs_and_lines_go_nowhere(
    api: Api,
    user: User,
    thing: Thing,
    settings: Any,
    form: str,
    configured: bool,
    access_methods: Callable[..., None],
) -> None:
    if configured:
        settings.DJEM_PERM_LOG_VERBOSITY = 0
    access_methods(Thing, _user_can_use_thing=answering(True, "asked", form=form))
    for _ in range(2):
        assert api(user).has_perm(PERM, thing) is True
        assert api(user).has_perm(PERM) is True
        assert api(user).get_all_permissions(thing) == {PERM}
        assert_nothing_active(user)
        with pytest.raises(KeyError, match="No finished logs"):
            user.get_last_log()


def test_switched_off_lines_go_to_the_log_that_is_active(
    api: Api, user: User, thing: Thing, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=answering(True, "asked"))
    user.start_log("mine")
    api(user).has_perm(PERM, thing)
    api(user).has_perm(PERM, thing)  # from the cache
    assert user.end_log() == ("mine", ["asked", "asked"])


# Replays


@pytest.mark.parametrize("computed_at", [0, 1, 2])
@pytest.mark.parametrize("computed_by", ["has_perm", "get_all_permissions", "has_perms"])
def test_a_cached_decision_replays_its_lines(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    settings: Any,
    computed_at: int,
    computed_by: str,
    access_methods: Callable[..., None],
) -> None:
    calls = []

    def decide(obj: Thing, user: User) -> bool:
        calls.append(obj)
        user.log("asked", tag="mine")
        user.log("denied")
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    settings.DJEM_PERM_LOG_VERBOSITY = computed_at
    if computed_by == "get_all_permissions":
        api(user).get_all_permissions(thing)
    elif computed_by == "has_perms":
        api(user).has_perms([PERM], thing)
    else:
        user.has_perm(PERM, thing)  # the sync form, also for the async one to find

    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    again = Thing.objects.get(pk=thing.pk)
    api(user).has_perm(PERM, again)
    assert log_of(user) == (
        header(verbosity, user, again)
        + MODEL_LEVEL_GRANTED
        + [("asked", ("mine",)), ("denied", ())]
        + result(granted=False)
    )
    assert len(calls) == 1


def test_each_replay_logs_the_lines_once(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=answering(True, "asked"))
    for _ in range(4):
        api(user).has_perm(PERM, thing)
        assert log_of(user).count(("asked", ())) == 1


# Exceptions


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize(
    "error", [ValueError("wrong"), KeyError("k"), LookupError(), asyncio.CancelledError()]
)
def test_after_an_exception_the_log_ends_with_its_name(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    error: BaseException,
    form: str,
    access_methods: Callable[..., None],
) -> None:
    access_methods(Thing, _user_can_use_thing=answering(error, "asked", form=form))
    name = type(error).__name__
    for _ in range(2):  # nothing is cached
        with pytest.raises(type(error)):
            api(user).has_perm(PERM, thing)
        assert log_of(user) == log_of(user, f"auto-{PERM}-{thing.pk}")
        assert log_of(user) == (
            header(verbosity, user, thing)
            + MODEL_LEVEL_GRANTED
            + ASKED
            + auto(f"\nRESULT: Error ({name})")
        )
        assert_nothing_active(user)

    access_methods(Thing, _user_can_use_thing=answering(True))
    assert api(user).has_perm(PERM, thing) is True
    assert log_of(user)[-1:] == result(granted=True)


def test_the_exception_itself_reaches_the_caller(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    error = ValueError("wrong")
    access_methods(Thing, _user_can_use_thing=answering(error))
    with pytest.raises(ValueError, match="wrong") as caught:
        api(user).has_perm(PERM, thing)
    assert caught.value is error


class FailingBackend:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is None:
            raise ValueError("at the model level")
        return False

    async def ahas_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return self.has_perm(user_obj, perm, obj)


class VetoingBackend:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        raise PermissionDenied


class GrantingBackend:
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return True


class LeavingBackend:
    """Starts logs and does not end them."""

    error: Exception | None = None

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        user_obj.start_log(f"left {obj}")
        user_obj.log("lost")
        if self.error and obj is not None:
            raise self.error
        return False


def backends(first: type) -> list[str]:
    return [
        f"{__name__}.{first.__qualname__}",
        "django.contrib.auth.backends.ModelBackend",
        "djem_async.auth.ObjectPermissionsBackend",
    ]


def test_an_exception_at_the_model_level_ends_both_logs(
    api: Api, user: User, thing: Thing, verbosity: int, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = backends(FailingBackend)
    with pytest.raises(ValueError, match="at the model level"):
        api(user).has_perm(PERM, thing)
    error = auto("\nRESULT: Error (ValueError)")
    assert log_of(user, f"auto-{PERM}") == error
    assert log_of(user) == header(verbosity, user, thing) + error
    assert_nothing_active(user)


@pytest.mark.parametrize(("first", "granted"), [(VetoingBackend, False), (GrantingBackend, True)])
def test_where_another_backend_decides_there_is_no_model_level_result(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    settings: Any,
    first: type,
    granted: bool,
) -> None:
    settings.AUTHENTICATION_BACKENDS = backends(first)
    assert api(user).has_perm(PERM, thing) is granted
    assert log_of(user) == header(verbosity, user, thing) + result(granted)


@pytest.mark.parametrize("error", [None, ValueError("wrong")])
def test_logs_that_a_backend_leaves_active_are_dropped(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
) -> None:
    settings.AUTHENTICATION_BACKENDS = backends(LeavingBackend)
    monkeypatch.setattr(LeavingBackend, "error", error)
    user.start_log("mine")
    if error:
        with pytest.raises(ValueError, match="wrong"):
            api(user).has_perm(PERM, thing)
        assert log_of(user)[-1:] == auto("\nRESULT: Error (ValueError)")
    else:
        assert api(user).has_perm(PERM, thing) is True
        assert log_of(user)[-1:] == result(granted=True)
    assert user.get_last_log(raw=True)[: 4 * (verbosity - 1)] == [
        entry for entry, _ in header(verbosity, user, thing)
    ]
    assert "lost" not in user.get_last_log()
    assert user.end_log() == ("mine", [])
    assert_nothing_active(user)


class LateBackend:
    """Asks about the model level after everything has been decided."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if obj is not None:
            user_obj.has_perm(perm)
        return False


def test_a_backend_that_asks_again_adds_nothing(
    api: Api,
    thing: Thing,
    verbosity: int,
    settings: Any,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_UNIVERSAL_OLP = True
    settings.AUTHENTICATION_BACKENDS = [*backends(LateBackend)[1:], *backends(LateBackend)[:1]]
    access_methods(Thing, _user_can_use_thing=answering(False, "asked"))
    user = User.objects.create_user("user.name", is_superuser=True)
    assert api(user).has_perm(PERM, thing) is False
    assert log_of(user) == (
        header(verbosity, user, thing)
        + UNIVERSAL
        + MODEL_LEVEL_GRANTED
        + ASKED
        + result(granted=False)
    )
    assert log_of(user, f"auto-{PERM}") == (
        header(verbosity, user) + UNIVERSAL + result(granted=True)
    )


def test_a_recursion_is_logged_as_an_error(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=lambda self, user: user.has_perm(PERM, self))
    with pytest.raises(PermissionRecursionError):
        api(user).has_perm(PERM, thing)
    assert log_of(user) == (
        header(verbosity, user, thing)
        + MODEL_LEVEL_GRANTED
        + auto("\nRESULT: Error (PermissionRecursionError)")
    )
    assert_nothing_active(user)


def test_an_error_that_the_access_method_handles_is_logged_for_the_inner_check_only(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    inner = Thing.objects.create(name="inner")

    def decide(obj: Thing, user: User) -> bool:
        if obj.pk == inner.pk:
            raise ValueError("wrong")
        with pytest.raises(ValueError, match="wrong"):
            user.has_perm(PERM, inner)
        user.log("handled")
        return True

    access_methods(Thing, _user_can_use_thing=decide)
    assert api(user).has_perm(PERM, thing) is True
    error = auto("\nRESULT: Error (ValueError)")
    assert log_of(user, f"auto-{PERM}-{inner.pk}")[-1:] == error
    assert log_of(user)[-2:] == plain("handled") + result(granted=True)


# The object in the header


def test_the_text_of_an_object_may_need_a_query(
    api: Api, user: User, thing: Thing, settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, __str__=lambda self: f"one of {Thing.objects.count()}")
    assert api(user).has_perm(PERM, thing) is True
    assert log_of(user)[2] == (f"Object: one of 1 ({thing.pk})", ("auto",))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_connections_of_threads")
async def test_the_text_of_an_object_may_need_a_query_on_an_event_loop(
    settings: Any, access_methods: Callable[..., None]
) -> None:
    user = await sync_to_async(grant)(await User.objects.acreate(username="user.name"), PERM)
    thing = await Thing.objects.acreate()
    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, __str__=lambda self: f"one of {Thing.objects.count()}")
    assert await user.ahas_perm(PERM, thing) is True
    assert log_of(user)[2] == (f"Object: one of 1 ({thing.pk})", ("auto",))


def test_an_exception_in_the_text_of_an_object_ends_the_log_like_any_other(
    api: Api, user: User, thing: Thing, settings: Any, access_methods: Callable[..., None]
) -> None:
    def fail(self: Thing) -> str:
        raise ValueError("no text")

    settings.DJEM_PERM_LOG_VERBOSITY = 2
    access_methods(Thing, __str__=fail)
    with pytest.raises(ValueError, match="no text"):
        api(user).has_perm(PERM, thing)
    assert log_of(user, f"auto-{PERM}-{thing.pk}")[-1:] == auto("\nRESULT: Error (ValueError)")
    assert_nothing_active(user)


def test_at_verbosity_1_the_text_of_an_object_is_not_asked_for(
    api: Api, user: User, thing: Thing, settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(Thing, __str__=lambda self: pytest.fail("asked"))
    assert api(user).has_perm(PERM, thing) is True


# Sets of permissions

SETS = ["get_all_permissions", "get_user_permissions", "get_group_permissions"]


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("name", SETS)
def test_sets_leave_no_object_level_log_behind(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    name: str,
    form: str,
    access_methods: Callable[..., None],
) -> None:
    access_methods(
        Thing,
        _user_can_use_thing=answering(True, "user asked", form=form),
        _group_can_use_thing=answering(True),
    )
    assert getattr(api(user), name)(thing) == {PERM}
    # The model-level checks were logged as usual, for each permission of the model.
    assert log_of(user, f"auto-{PERM}")[-1:] == result(granted=True)
    assert log_of(user, "auto-testapp.add_thing")[-1:] == result(granted=False)
    with pytest.raises(KeyError):
        user.get_log(f"auto-{PERM}-{thing.pk}")
    assert user.get_last_log() != "user asked"
    assert_nothing_active(user)


@pytest.mark.parametrize("name", SETS)
def test_sets_without_an_object_make_no_logs(
    api: Api, user: User, verbosity: int, name: str
) -> None:
    getattr(api(user), name)()
    with pytest.raises(KeyError, match="No finished logs"):
        user.get_last_log()
    assert_nothing_active(user)


def test_an_exception_in_a_set_leaves_no_log_active(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=answering(ValueError("wrong"), "asked"))
    user.start_log("mine")
    with pytest.raises(ValueError, match="wrong"):
        api(user).get_all_permissions(thing)
    assert user.end_log() == ("mine", [])
    assert_nothing_active(user)


def test_a_set_inside_an_access_method_leaves_its_log_alone(
    api: Api, user: User, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    other = OtherThing.objects.create()

    def decide(obj: Thing, user: User) -> bool:
        user.log("before")
        user.get_all_permissions(other)
        user.log("after")
        return False

    access_methods(Thing, _user_can_use_thing=decide)
    api(user).has_perm(PERM, thing)
    assert log_of(user) == (
        header(verbosity, user, thing)
        + MODEL_LEVEL_GRANTED
        + plain("before", "after")
        + result(granted=False)
    )


def test_module_permissions_make_no_logs(api: Api, user: User, verbosity: int) -> None:
    assert api(user).has_module_perms("testapp") is True
    with pytest.raises(KeyError, match="No finished logs"):
        user.get_last_log()


# Users that keep no logs


def test_anonymous_users_are_checked_without_logs(
    api: Api, thing: Thing, verbosity: int, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=lambda self, user: pytest.fail("asked"))
    anonymous = auth.AnonymousUser()
    assert api(anonymous).has_perm(PERM, thing) is False
    assert api(anonymous).has_perm(PERM) is False
    assert api(anonymous).get_all_permissions(thing) == set()


@pytest.mark.parametrize("answer", [True, False])
def test_users_without_the_mixin_are_checked_without_logs(
    api: Api, thing: Thing, verbosity: int, answer: bool, access_methods: Callable[..., None]
) -> None:
    access_methods(Thing, _user_can_use_thing=lambda self, user: answer)
    user = auth.User(pk=1, username="plain")
    user._perm_cache = user._user_perm_cache = {PERM}
    user._group_perm_cache = set()
    for _ in range(2):
        assert api(user).has_perm(PERM, thing) is answer
        assert api(user).has_perm(PERM) is True
        assert api(user).get_all_permissions(thing) == ({PERM} if answer else set())


# The hook: overrides of end_log


def save_log(user: Any) -> tuple[str, list[Entry]]:
    name, entries = Loggable.end_log(user)
    Thing.objects.create(name=f"{name}: {len(entries)}")
    return name, entries


async def asave_log(user: Any) -> tuple[str, list[Entry]]:
    name, entries = await Loggable.aend_log(user)
    await Thing.objects.acreate(name=f"{name}: {len(entries)}")
    return name, entries


def saved() -> list[str]:
    return list(
        Thing.objects.filter(name__startswith="auto-").order_by("pk").values_list("name", flat=True)
    )


@pytest.mark.parametrize("native", [False, True])
def test_logs_can_be_saved_to_the_database(
    api: Api,
    user: User,
    thing: Thing,
    settings: Any,
    native: bool,
    access_methods: Callable[..., None],
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(User, end_log=save_log, **({"aend_log": asave_log} if native else {}))
    access_methods(Thing, _user_can_use_thing=answering(False, "asked"))
    assert api(user).has_perm(PERM, thing) is False
    assert saved() == [f"auto-{PERM}: 1", f"auto-{PERM}-{thing.pk}: 3"]
    assert len(log_of(user)) == 3
    assert_nothing_active(user)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_connections_of_threads")
@pytest.mark.parametrize("native", [False, True])
async def test_logs_can_be_saved_to_the_database_from_an_event_loop(
    settings: Any, native: bool, access_methods: Callable[..., None]
) -> None:
    user = await sync_to_async(grant)(await User.objects.acreate(username="user.name"), PERM)
    thing = await Thing.objects.acreate()
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    access_methods(User, end_log=save_log, **({"aend_log": asave_log} if native else {}))
    access_methods(Thing, _user_can_use_thing=answering(ValueError("wrong"), "asked"))
    with pytest.raises(ValueError, match="wrong"):
        await user.ahas_perm(PERM, thing)
    assert await sync_to_async(saved)() == [f"auto-{PERM}: 1", f"auto-{PERM}-{thing.pk}: 3"]
    assert_nothing_active(user)


def raise_after(user: Any) -> tuple[str, list[Entry]]:
    Loggable.end_log(user)
    raise OSError("disk full")


def raise_before(user: Any) -> tuple[str, list[Entry]]:
    raise OSError("disk full")


@pytest.mark.parametrize("override", [raise_after, raise_before])
@pytest.mark.parametrize("answer", [True, ValueError("wrong")])
def test_an_override_that_fails_leaves_no_log_active(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    override: Any,
    answer: object,
    access_methods: Callable[..., None],
) -> None:
    access_methods(User, end_log=override)
    access_methods(Thing, _user_can_use_thing=answering(answer))
    user.start_log("mine")
    for obj in (None, thing):
        with pytest.raises(OSError, match="disk full"):
            api(user).has_perm(PERM, obj)
    assert Loggable.end_log(user) == ("mine", [])
    assert_nothing_active(user)

    access_methods(User, end_log=Loggable.end_log)
    access_methods(Thing, _user_can_use_thing=answering(True))
    assert api(user).has_perm(PERM, thing) is True
    assert log_of(user)[-1:] == result(granted=True)


def discard(user: Any) -> tuple[str, list[Entry]]:
    user.discard_log()
    return "", []


def do_nothing(user: Any) -> tuple[str, list[Entry]]:
    return "", []


@pytest.mark.parametrize("override", [discard, do_nothing])
def test_an_override_may_drop_the_log(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    override: Any,
    access_methods: Callable[..., None],
) -> None:
    access_methods(User, end_log=override)
    access_methods(Thing, _user_can_use_thing=answering(True, "asked"))
    for _ in range(2):
        assert api(user).has_perm(PERM, thing) is True
        assert api(user).has_perm(PERM) is True
        assert_nothing_active(user)
    with pytest.raises(KeyError, match="No finished logs"):
        user.get_last_log()


@pytest.mark.parametrize("override", [discard, do_nothing])
def test_a_dropped_model_level_log_does_not_upset_the_log_around_it(
    api: Api,
    user: User,
    thing: Thing,
    verbosity: int,
    override: Any,
    access_methods: Callable[..., None],
) -> None:
    ended: list[str] = []

    def drop_the_first(self: User) -> tuple[str, list[Entry]]:
        ended.append("log")
        return override(self) if len(ended) == 1 else Loggable.end_log(self)

    access_methods(User, end_log=drop_the_first)
    access_methods(Thing, _user_can_use_thing=answering(True, "asked"))
    assert api(user).has_perm(PERM, thing) is True
    assert log_of(user) == (
        header(verbosity, user, thing) + MODEL_LEVEL_GRANTED + ASKED + result(granted=True)
    )
    with pytest.raises(KeyError):
        user.get_log(f"auto-{PERM}")


def test_an_override_may_make_checks_itself(
    api: Api, user: User, thing: Thing, settings: Any, access_methods: Callable[..., None]
) -> None:
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    audited: list[tuple[str, bool]] = []

    def end_log(self: User) -> tuple[str, list[Entry]]:
        name, entries = Loggable.end_log(self)
        if "use_thing" in name:
            audited.append((name, self.has_perm("testapp.add_thing")))
        return name, entries

    access_methods(User, end_log=end_log)
    assert api(user).has_perm(PERM, thing) is True
    assert audited == [(f"auto-{PERM}", False), (f"auto-{PERM}-{thing.pk}", False)]
    assert log_of(user, f"auto-{PERM}-{thing.pk}") == MODEL_LEVEL_GRANTED + result(granted=True)
    assert_nothing_active(user)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_connections_of_threads")
@pytest.mark.parametrize("saved_first", [True, False])
@pytest.mark.parametrize("level", ["model", "object"])
async def test_a_check_that_is_cancelled_while_its_log_is_saved(
    settings: Any, saved_first: bool, level: str, access_methods: Callable[..., None]
) -> None:
    user = await sync_to_async(grant)(await User.objects.acreate(username="user.name"), PERM)
    thing = await Thing.objects.acreate()
    settings.DJEM_PERM_LOG_VERBOSITY = 1
    saving = asyncio.Event()

    async def aend_log(self: User) -> tuple[str, list[Entry]]:
        if saved_first:
            await Loggable.aend_log(self)
        saving.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    access_methods(User, aend_log=aend_log)
    context = contextvars.copy_context()
    check = user.ahas_perm(PERM, thing if level == "object" else None)
    task = asyncio.get_running_loop().create_task(check, context=context)
    await saving.wait()
    task.cancel()
    if level == "object":
        # Cancelled at the model level, the check then ends its own log as well.
        saving.clear()
        await saving.wait()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    context.run(assert_nothing_active, user)

    access_methods(User, aend_log=Loggable.aend_log)
    assert await user.ahas_perm(PERM, thing) is True
    assert log_of(user) == MODEL_LEVEL_GRANTED + result(granted=True)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_a_user_who_keeps_no_logs_is_given_none(db, settings, access_methods, verbosity):
    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    user = PlainUser.objects.create(name="plain")
    user.user_permissions.add(permission("testapp.use_thing"))
    access_methods(Thing, _user_can_use_thing=lambda self, user: True)
    thing = Thing.objects.create(name="thing")
    backend = ObjectPermissionsBackend()
    for _ in range(2):
        assert backend.has_perm(user, "testapp.use_thing", thing)
        assert "testapp.use_thing" in backend.get_all_permissions(user, thing)
    assert "_log_store" not in vars(user)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_lines_of_a_set_are_logged_where_checks_are_not(
    api, user, settings, access_methods, verbosity
):
    def explain(self: Any, user: Any) -> bool:
        user.log("because")
        return True

    settings.DJEM_PERM_LOG_VERBOSITY = verbosity
    access_methods(Thing, _user_can_use_thing=explain)
    thing = Thing.objects.create(name="thing")
    user.start_log("mine")
    assert "testapp.use_thing" in api(user).get_all_permissions(thing)
    assert user.end_log() == ("mine", [] if verbosity else ["because"])
