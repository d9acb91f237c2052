"""Views: what stands in the place of a primary key or of a permission in a view."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views import View
from hypothesis import given
from hypothesis import strategies as st

from djem_async.auth import PermissionRequiredMixin, permission_required
from tests.fuzz.bench import PERM, Bench, Reading, Turn, examples, judged, turns
from tests.fuzz.hostile import (
    DUNDERS,
    VALUES,
    CaseInsensitive,
    Lying,
    Plan,
    anything,
    near_misses,
    plans,
)
from tests.fuzz.keys import KEYS
from tests.testapp.models import OtherThing, Thing

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = RequestFactory().get("/")


class Visit:
    """A request to a view that requires permissions, in the sync and the async form."""

    def __init__(self, kind: str, required: Any, kwargs: dict[str, Any]) -> None:
        self.kind = kind
        self.required = required
        self.kwargs = kwargs
        self.ran: list[dict[str, Any]] = []

    def ask(self, user: Any) -> bool | str:
        def view(*_args: object, **kwargs: Any) -> HttpResponse:
            self.ran.append(kwargs)
            return HttpResponse()

        try:
            response = self._view(view)(self._request(user), **self.kwargs)
        except PermissionDenied:
            return False
        except BaseException as error:
            return judged(error)
        return self._answer(response)

    async def aask(self, user: Any) -> bool | str:
        async def view(*_args: object, **kwargs: Any) -> HttpResponse:
            self.ran.append(kwargs)
            return HttpResponse()

        try:
            response = await self._view(view)(self._request(user), **self.kwargs)
        except PermissionDenied:
            return False
        except BaseException as error:
            return judged(error)
        return self._answer(response)

    def _view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        if self.kind == "function":
            return permission_required(*self.required, raise_exception=True)(view)
        bases = (PermissionRequiredMixin, View)
        names = {"get": view, "raise_exception": True, "permission_required": self.required}
        return type("RequiringView", bases, names).as_view()

    def _request(self, user: Any) -> Any:
        async def auser() -> Any:
            return user

        request = RequestFactory().get("/")
        request.user, request.auser = user, auser
        return request

    def _answer(self, response: HttpResponse) -> bool:
        assert response.status_code == 200
        return True

    def wrongly_ran(self) -> list[dict[str, Any]]:
        """Return what views were given that they must not be given."""
        return [kwargs for kwargs in self.ran if not is_granted_thing(kwargs["pk"])]


def is_granted_thing(obj: Any) -> bool:
    return isinstance(obj, Thing) and obj.name == "granted"


kinds = st.sampled_from(["function", "class"])

# Keys, by how a view may be given that of an object.
WRITTEN: dict[str, Callable[[int], object]] = {
    "number": int,
    "text": str,
    "text with space": lambda pk: f" {pk}\n",
    "wide digits": lambda pk: str(pk).translate({48 + i: 0xFF10 + i for i in range(10)}),
    "float": float,
    "decimal": Decimal,
    "bytes": lambda pk: str(pk).encode(),
    "in any case": lambda pk: CaseInsensitive(pk),
    "value": models.Value,
}
OBJECTS: dict[str, Callable[[Bench], object]] = {
    "granted": lambda bench: bench.granted,
    "denied": lambda bench: bench.denied,
    "lazy granted": lambda bench: SimpleLazyObject(lambda: bench.granted),
    "lazy denied": lambda bench: SimpleLazyObject(lambda: bench.denied),
    "lazy None": lambda _bench: SimpleLazyObject(lambda: None),
    "unsaved": lambda bench: Thing(pk=bench.granted.pk),
    "of another model": lambda bench: OtherThing(pk=bench.granted.pk, name="granted"),
    "a user": lambda bench: bench.cold_user(),
    "all": lambda _bench: Thing.objects.all(),
    "a field": lambda _bench: models.F("pk"),
    "text that claims to be granted": lambda b: Lying(str(b.denied.pk), str(b.granted.pk)),
    "text that claims to be denied": lambda b: Lying(str(b.granted.pk), str(b.denied.pk)),
}


@examples(35)
@given(
    kind=kinds,
    written=st.sampled_from(sorted(WRITTEN)),
    is_granted=st.booleans(),
    turn=turns,
)
def test_a_key_in_any_writing_gives_the_view_its_own_object(
    bench: Bench, kind: str, written: str, is_granted: bool, turn: Turn
) -> None:
    pk = (bench.granted if is_granted else bench.denied).pk
    visit = Visit(kind, [(PERM, "pk")], {"pk": WRITTEN[written](pk)})
    bench.attempt(visit, Reading.GRANT if is_granted else Reading.DENY, turn)
    assert not visit.wrongly_ran()


@examples(35)
@given(
    kind=kinds,
    written=st.sampled_from(sorted(KEYS))
    | st.sampled_from(sorted(OBJECTS))
    | anything
    | plans(DUNDERS),
    turn=turns,
)
def test_no_view_runs_with_what_is_no_key_of_a_granted_object(
    bench: Bench, kind: str, written: str | Plan, turn: Turn
) -> None:
    match written:
        case Plan():
            value: object = type("HostileKey", (str,), written.build())(bench.denied.pk)
        case str() if written in OBJECTS:
            value = OBJECTS[written](bench)
        case str() if written in KEYS:
            value = KEYS[written]()
        case _:
            value = written
    visit = Visit(kind, [(PERM, "pk")], {"pk": value})
    bench.attempt(visit, Reading.EITHER if written in OBJECTS else Reading.DENY, turn)
    assert not visit.wrongly_ran()


# Names of permissions

CLASSES: dict[str, Callable[[str], Any]] = {
    "str": str,
    "claims the held one": lambda text: Lying(text, PERM),
    "in any case": CaseInsensitive,
}
names = near_misses(PERM) | anything | anything.map(lambda text: f"testapp.{text}")


@examples(35)
@given(
    kind=kinds,
    text=names,
    of=st.sampled_from(sorted(CLASSES)),
    with_object=st.booleans(),
    is_superuser=st.booleans(),
    turn=turns,
)
def test_a_view_denies_who_lacks_what_it_names(
    bench: Bench, kind: str, text: str, of: str, with_object: bool, is_superuser: bool, turn: Turn
) -> None:
    name = CLASSES[of](text)
    visit = Visit(kind, [(name, "pk") if with_object else name], {"pk": bench.granted.pk})
    user = bench.cold_user()
    user.is_superuser = is_superuser and of == "str"
    bench.attempt(visit, Reading.DENY, turn, attacker=user)
    assert not visit.ran


@examples(25)
@given(
    kind=kinds,
    required=st.recursive(
        st.sampled_from(sorted(VALUES)) | anything,
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
        max_leaves=4,
    ),
    turn=turns,
)
def test_a_view_that_requires_what_is_no_permission_never_runs(
    bench: Bench, kind: str, required: Any, turn: Turn
) -> None:
    def build(part: Any) -> Any:
        if isinstance(part, (list, tuple)):
            return type(part)(map(build, part))
        return VALUES[part]() if part in VALUES else part

    built = build(required)
    as_one = built if kind == "class" or not isinstance(built, (list, tuple)) else [*built]
    visit = Visit(kind, as_one if isinstance(as_one, (list, tuple)) else [as_one], {"pk": 1})
    bench.attempt(visit, Reading.DENY, turn)
    assert not visit.ran
