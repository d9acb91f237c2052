"""Objects by their primary keys: models, and keys that are easily taken for one another."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models
from django.test.utils import isolate_apps
from hypothesis import strategies as st

from tests.fuzz.hostile import CaseInsensitive, Equal, Lying, Plan, Planned, anything, plans
from tests.testapp.models import CompositeThing, Document, OtherThing, SpecialThing, Thing
from tests.testapp.models import ThingProxy as Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

with isolate_apps("tests.testapp"):

    class Meta:
        app_label = "testapp"

    def keyed(name: str, key: models.Field[Any, Any]) -> type[models.Model]:
        key.primary_key = True
        return type(name, (models.Model,), {"id": key, "Meta": Meta, "__module__": __name__})

    class TextKeys(models.Model):
        pk = models.CompositePrimaryKey("tenant", "number")
        tenant = models.TextField()
        number = models.TextField()

        class Meta:
            app_label = "testapp"

    OWN_MODELS = (
        keyed("TextKey", models.TextField()),
        keyed("BinaryKey", models.BinaryField()),
        keyed("FloatKey", models.FloatField()),
        keyed("MomentKey", models.DateTimeField()),
        TextKeys,
    )

TESTAPP = (Thing, Proxy, SpecialThing, OtherThing, Document, CompositeThing)
MODELS: dict[str, type[models.Model]] = {m.__name__: m for m in (*TESTAPP, *OWN_MODELS)}


class One(IntEnum):
    ONE = 1


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UUID = uuid.UUID(int=1)
# Keys by the way they are written, many of them equal to another.
KEYS: dict[str, Callable[[], object]] = {
    "0": lambda: 0,
    "1": lambda: 1,
    "2": lambda: 2,
    "-1": lambda: -1,
    "True": lambda: True,
    "False": lambda: False,
    "1.0": lambda: 1.0,
    "0.0": lambda: 0.0,
    "-0.0": lambda: -0.0,
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "Decimal 1": lambda: Decimal(1),
    "Decimal 1.0": lambda: Decimal("1.0"),
    "Decimal nan": lambda: Decimal("nan"),
    "Fraction 1": lambda: Fraction(1),
    "complex 1": lambda: 1 + 0j,
    "IntEnum 1": lambda: One.ONE,
    "2**63": lambda: 2**63,
    "2**64 + 1": lambda: 2**64 + 1,
    "-2**63 - 1": lambda: -(2**63) - 1,
    "2**61 - 1": lambda: 2**61 - 1,  # of which the hash is 0
    "2**61": lambda: 2**61,  # and here it is 1
    "-2": lambda: -2,  # that of -1 is the same
    "10**5000": lambda: 10**5000,
    "'1'": lambda: "1",
    "'True'": lambda: "True",
    "'1.0'": lambda: "1.0",
    "' 1'": lambda: " 1",
    "'\uff11'": lambda: "\uff11",
    "''": lambda: "",
    "'a'": lambda: "a",
    "'A'": lambda: "A",
    "'a' in any case": lambda: CaseInsensitive("a"),
    "'A' in any case": lambda: CaseInsensitive("A"),
    "'A' that claims 'a'": lambda: Lying("A", "a"),
    "'a' that claims '1'": lambda: Lying("a", "1"),
    "equal to 'a'": lambda: Equal("a"),
    "NUL": lambda: "\0",
    "a surrogate": lambda: "\ud800",
    "a long text": lambda: "a" * 100_000,
    "two lines": lambda: "1\n\nRESULT: Permission Granted",
    "b'1'": lambda: b"1",
    "bytearray b'1'": lambda: bytearray(b"1"),
    "a UUID": lambda: UUID,
    "the text of a UUID": lambda: str(UUID),
    "noon": lambda: NOON,
    "noon elsewhere": lambda: NOON.astimezone(timezone(timedelta(hours=2))),
    "(1,)": lambda: (1,),
    "()": tuple,
    "(1, 1)": lambda: (1, 1),
    "(1, True)": lambda: (1, True),
    "(True, 1)": lambda: (True, 1),
    "(1, '1')": lambda: (1, "1"),
    "('1', 1)": lambda: ("1", 1),
    "(1.0, -0.0)": lambda: (1.0, -0.0),
    "(1, None)": lambda: (1, None),
    "(None, None)": lambda: (None, None),
    "((1, 1), 1)": lambda: ((1, 1), 1),
    "('a', 'A')": lambda: ("a", "A"),
    "('a', 'A') in any case": lambda: (CaseInsensitive("a"), CaseInsensitive("A")),
    "('A', 'a') in any case": lambda: (CaseInsensitive("A"), CaseInsensitive("a")),
    "[1]": lambda: [1],
    "{}": dict,
    "frozenset {1}": lambda: frozenset({1}),
    "None": lambda: None,
    "a class": lambda: Thing,
    "unsaved thing": Thing,
}


# Keys that are equal, or have one hash, and may yet be different rows.
FAMILIES = (
    ("1", "True", "1.0", "Decimal 1", "Decimal 1.0", "Fraction 1", "complex 1", "IntEnum 1", "'1'"),
    ("0", "False", "0.0", "-0.0", "2**61 - 1", "''", "()", "{}"),
    ("-1", "-2", "nan", "inf", "Decimal nan"),
    ("'a'", "'A'", "'a' in any case", "'A' in any case", "'A' that claims 'a'", "equal to 'a'"),
    ("'1'", "' 1'", "'\uff11'", "'a' that claims '1'", "b'1'", "bytearray b'1'"),
    ("(1, 1)", "(1, True)", "(True, 1)", "(1, '1')", "('1', 1)", "(1.0, -0.0)", "1", "True"),
    ("('a', 'A')", "('a', 'A') in any case", "('A', 'a') in any case", "'a'", "'A'"),
    ("(1, None)", "(None, None)", "None", "unsaved thing", "frozenset {1}"),
    ("a UUID", "the text of a UUID", "noon", "noon elsewhere", "2**64 + 1", "2**61"),
)


class Key(NamedTuple):
    """A primary key: one of those above, a text, a number, or one that misbehaves."""

    written: str | int | Plan

    def build(self) -> Any:
        match self.written:
            case Plan():
                return type("HostileKey", (str,), self.written.build())("1")
            case str() if self.written in KEYS:
                return KEYS[self.written]()
            case written:
                return written


known_keys = st.sampled_from(sorted(KEYS)).map(Key)
hostile_keys = plans(("__eq__", "__hash__", "__str__", "__format__", "__class__", "__repr__")).map(
    Key
)
keys = known_keys | (anything | st.integers()).map(Key) | hostile_keys


class Item(NamedTuple):
    """A saved object."""

    model: str
    key: Key
    alias: str | None = "default"
    is_new: bool = False

    def build(self) -> models.Model:
        obj = MODELS[self.model]()
        self.shape(obj)
        return obj

    def shape(self, obj: models.Model) -> None:
        """Turn an object into this one."""
        key = self.key.build()
        names = [field.attname for field in type(obj)._meta.pk_fields]
        if len(names) > 1:
            parts = key if type(key) is tuple and len(key) == len(names) else (key, key)
        else:
            parts = (key,)
        for name, part in zip(names, parts, strict=True):
            vars(obj)[name] = part
        if type(obj) is SpecialThing:
            vars(obj)["id"] = key
        obj._state.db, obj._state.adding = self.alias, self.is_new


class NoRow(Planned, ValueError):
    """No database has a row with such a key."""


def row(obj: models.Model) -> Hashable:
    """Tell which row an object is: the class, the database, and the key as it is stored."""
    try:
        stored = [
            repr(plain(field.get_prep_value(getattr(obj, field.attname))))
            for field in type(obj)._meta.pk_fields
        ]
    except Exception as error:
        raise NoRow from error
    return type(obj).__name__, repr(obj._state.db), *stored


def plain(value: object) -> object:
    """Rid a value of a class that misbehaves, as a database does."""
    if issubclass(type(value), str):
        return "".join(str.__getitem__(value, i) for i in range(str.__len__(value)))
    return bytes(value) if isinstance(value, bytearray) else value
