"""Views: hostile values in place of a primary key and of the name of a permission."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from djem_async.auth import permission_required
from tests.fuzz.bench import PERM, Bench, Reading, Turn, examples, judged, turns
from tests.fuzz.hostile import DUNDERS, CaseInsensitive, Lying, Plan, anything, plans
from tests.fuzz.keys import KEYS
from tests.testapp.models import OtherThing, Thing
from tests.testapp.views import Run, function_view, view_class


class Visit:
    """A request to a view that requires permissions, in the sync and the async form."""

    def __init__(self, kind: str, required: Any, pk: Any) -> None:
        self.kind, self.required, self.pk = kind, required, pk
        self.runs: list[Run] = []

    def ask(self, user: Any) -> bool | str:
        try:
            return self._view("sync")(self._request(user), pk=self.pk).status_code == 200
        except BaseException as error:
            return not isinstance(error, PermissionDenied) and judged(error)

    async def aask(self, user: Any) -> bool | str:
        try:
            return (await self._view("async")(self._request(user), pk=self.pk)).status_code == 200
        except BaseException as error:
            return not isinstance(error, PermissionDenied) and judged(error)

    def _view(self, mode: str) -> Any:
        if self.kind == "class":
            names = {"raise_exception": True, "permission_required": self.required}
            return view_class(mode, self.runs, **names).as_view()
        require = permission_required(*self.required, raise_exception=True)
        return require(function_view(mode, self.runs))

    def _request(self, user: Any) -> Any:
        async def auser() -> Any:
            return user

        request = RequestFactory().get("/")
        request.user, request.auser = user, auser
        return request


kinds = st.sampled_from(["function", "class"])

# Primary keys in other forms.
WRITTEN: dict[str, Any] = {
    "number": int,
    "text": str,
    "text with space": lambda pk: f" {pk}\n",
    "wide digits": lambda pk: str(pk).translate({48 + i: 0xFF10 + i for i in range(10)}),
    "decimal": Decimal,
    "bytes": lambda pk: str(pk).encode(),
    "in any case": lambda pk: CaseInsensitive(pk),
}
OBJECTS: dict[str, Any] = {
    "granted": lambda bench: bench.granted,
    "denied": lambda bench: bench.denied,
    "lazy granted": lambda bench: SimpleLazyObject(lambda: bench.granted),
    "lazy denied": lambda bench: SimpleLazyObject(lambda: bench.denied),
    "lazy None": lambda _: SimpleLazyObject(lambda: None),
    "unsaved": lambda bench: Thing(pk=bench.granted.pk),
    "of another model": lambda bench: OtherThing(pk=bench.granted.pk, name="granted"),
    "all": lambda _: Thing.objects.all(),
    "claims to be granted": lambda b: Lying(str(b.denied.pk), str(b.granted.pk)),
    "claims to be denied": lambda b: Lying(str(b.granted.pk), str(b.denied.pk)),
}
values = st.sampled_from(sorted(KEYS)) | st.sampled_from(sorted(OBJECTS)) | anything
written_keys = st.tuples(st.sampled_from(sorted(WRITTEN)), st.booleans())


@examples(30)
@given(kind=kinds, written=written_keys | values | plans(DUNDERS), turn=turns)
def test_no_view_runs_with_what_is_no_key_of_a_granted_object(
    bench: Bench, kind: str, written: str | Plan | tuple[str, bool], turn: Turn
) -> None:
    value, reading = written, Reading.DENY
    if isinstance(written, Plan):
        value = type("HostileKey", (str,), written.build())(bench.denied.pk)
    elif isinstance(written, tuple):
        value = WRITTEN[written[0]]((bench.granted if written[1] else bench.denied).pk)
        reading = Reading.GRANT if written[1] else Reading.DENY
    elif written in OBJECTS:
        value, reading = OBJECTS[written](bench), Reading.EITHER
    elif written in KEYS:
        value = KEYS[written]()
    visit = Visit(kind, [(PERM, "pk")], value)
    bench.attempt(visit, reading, turn)
    for run in visit.runs:
        assert isinstance(run.kwargs["pk"], Thing)
        assert run.kwargs["pk"].name == "granted"
