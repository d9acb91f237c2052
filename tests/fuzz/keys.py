"""Objects by their primary keys: models, and keys that are easily taken for one another."""

from collections.abc import Callable, Hashable
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models
from django.test.utils import isolate_apps
from hypothesis import strategies as st

from tests.fuzz.hostile import CaseInsensitive, Lying, Plan, Planned, anything, plans
from tests.testapp.models import CompositeThing, Document, OtherThing, Thing
from tests.testapp.models import ThingProxy as Proxy

with isolate_apps("tests.testapp"):

    class TextKey(models.Model):
        id = models.TextField(primary_key=True)

        class Meta:
            app_label = "testapp"

    class TextKeys(models.Model):
        pk = models.CompositePrimaryKey("tenant", "number")
        tenant = models.TextField()
        number = models.TextField()

        class Meta:
            app_label = "testapp"


TESTAPP = (Thing, Proxy, OtherThing, Document, CompositeThing)
MODELS: dict[str, type[models.Model]] = {m.__name__: m for m in (*TESTAPP, TextKey, TextKeys)}


class One(IntEnum):
    ONE = 1


NAMES = {
    "Any": CaseInsensitive,
    "Decimal": Decimal,
    "Lying": Lying,
    "ONE": One.ONE,
    "Thing": Thing,
    "UUID": UUID(int=1),
}
# Keys that are equal, or have one hash, and may yet be different rows.
FAMILIES = tuple(
    family.split("; ")
    for family in (
        "1; True; 1.0; Decimal(1); Decimal('1.0'); 1 + 0j; ONE; '1'; 2**61",
        "0; False; 0.0; -0.0; 2**61 - 1; ''; (); {}",
        "-1; -2; float('nan'); float('inf'); Decimal('nan'); 10**5000; -2**63 - 1",
        "'a'; 'A'; Any('a'); Any('A'); Lying('A', 'a'); 'a' * 100_000",
        "'1'; ' 1'; '\\uff11'; Lying('a', '1'); b'1'; bytearray(b'1'); '1\\n\\nRESULT: Granted'",
        "(1, 1); (1, True); (True, 1); (1, '1'); ('1', 1); (1.0, -0.0); (1,); ((1, 1), 1); 1; True",
        "('a', 'A'); (Any('a'), Any('A')); (Any('A'), Any('a')); 'a'; 'A'; '\\0'; '\\ud800'",
        "(1, None); (None, None); None; Thing; Thing(); frozenset({1}); [1]",
        "UUID; str(UUID); 2**64 + 1; 2**61",
    )
)
KEYS: dict[str, Callable[[], object]] = {
    key: partial(eval, key, NAMES) for family in FAMILIES for key in family
}


def key_of(written: str | int | Plan) -> Any:
    """Build a primary key: one of those above, a text, a number, or one that misbehaves."""
    if isinstance(written, Plan):
        return type("HostileKey", (str,), written.build())("1")
    return KEYS[written]() if isinstance(written, str) and written in KEYS else written


odd = plans(("__eq__", "__hash__", "__str__", "__format__", "__class__", "__repr__"))
keys = st.sampled_from(sorted(KEYS)) | anything | st.integers() | odd


class Item(NamedTuple):
    """A saved object."""

    model: str
    key: str | int | Plan
    alias: str | None = "default"
    is_new: bool = False

    def build(self) -> models.Model:
        obj = MODELS[self.model]()
        self.shape(obj)
        return obj

    def shape(self, obj: models.Model) -> None:
        """Turn an object into this one."""
        key = key_of(self.key)
        names = [field.attname for field in type(obj)._meta.pk_fields]
        if len(names) > 1:
            parts = key if type(key) is tuple and len(key) == len(names) else (key, key)
        else:
            parts = (key,)
        for name, part in zip(names, parts, strict=True):
            vars(obj)[name] = part
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
