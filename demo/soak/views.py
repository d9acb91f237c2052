"""The ways to make a check; each answers with the user, the object, the decision and the log."""

import asyncio
import gc
import threading
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from django.contrib.auth.models import Permission
from django.db.models import Model
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views import View
from inventory.models import Product, Supplier, User

from djem_async.auth import PermissionRequiredMixin, permission_required

from . import faults
from .models import Gate

PERMS: Final[dict[str, type[Model]]] = {
    "inventory.view_product": Product,
    "inventory.change_product": Product,
    "inventory.delete_product": Product,
    "inventory.manage_supplier": Supplier,
    "soak.enter_gate": Gate,
    "soak.leave_gate": Gate,
    "soak.close_gate": Gate,
}
GATE_PERMS: Final = [perm for perm, model in PERMS.items() if model is Gate]


def answer(user: User, perm: str, pk: Any, granted: bool) -> dict[str, Any]:
    log = user.get_last_log(raw=True)
    return {"user": user.username, "perm": perm, "pk": pk, "granted": granted, "log": log}


async def check(user: User, perm: str, obj: Model) -> dict[str, Any]:
    return answer(user, perm, obj.pk, await user.ahas_perm(perm, obj))


async def in_async_view(request: HttpRequest, perm: str, pk: int) -> JsonResponse:
    user: Any = await request.auser()
    return JsonResponse(await check(user, perm, await PERMS[perm]._default_manager.aget(pk=pk)))


def in_sync_view(request: HttpRequest, perm: str, pk: int) -> JsonResponse:
    user: Any = request.user
    obj = PERMS[perm]._default_manager.get(pk=pk)
    return JsonResponse(answer(user, perm, pk, user.has_perm(perm, obj)))


async def survive(user: User, perm: str, obj: Model) -> dict[str, Any] | None:
    """Check, whatever happens."""
    try:
        async with asyncio.timeout(faults.LIMIT if faults.current.get() == "stall" else None):
            return await check(user, perm, obj)
    except faults.CAUGHT:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        return None


async def after_a_fault(request: HttpRequest, perm: str, pk: int) -> JsonResponse:
    """Check, have it fail, and check again: nothing of the failure may be left on the user."""
    user: Any = await request.auser()
    obj = await PERMS[perm]._default_manager.aget(pk=pk)
    await survive(user, perm, obj)
    faults.current.set("")
    return JsonResponse(await check(user, perm, obj))


def after_a_fault_sync(request: HttpRequest, perm: str, pk: int) -> JsonResponse:
    user: Any = request.user
    obj = PERMS[perm]._default_manager.get(pk=pk)
    with suppress(*faults.CAUGHT):
        user.has_perm(perm, obj)
    faults.current.set("")
    return JsonResponse(answer(user, perm, pk, user.has_perm(perm, obj)))


async def of_the_decorator(request: HttpRequest, perm: str, obj: Model) -> JsonResponse:
    user: Any = await request.auser()
    return JsonResponse(answer(user, perm, obj.pk, True))


def of_the_decorator_sync(request: HttpRequest, perm: str, obj: Model) -> JsonResponse:
    user: Any = request.user
    return JsonResponse(answer(user, perm, obj.pk, True))


class OfTheMixin(PermissionRequiredMixin, View):
    async def get(self, request: HttpRequest, perm: str, obj: Model) -> JsonResponse:
        return await of_the_decorator(request, perm, obj)


class OfTheMixinSync(PermissionRequiredMixin, View):
    def get(self, request: HttpRequest, perm: str, obj: Model) -> JsonResponse:
        return of_the_decorator_sync(request, perm, obj)


def refused(request: HttpRequest, exception: Exception) -> JsonResponse:
    user: Any = request.user
    assert request.resolver_match is not None
    # Django calls this in another thread than the view, so nothing is fetched here.
    kwargs = request.resolver_match.kwargs
    return JsonResponse(answer(user, kwargs["perm"], kwargs["obj"], False), status=403)


async def gathered(request: HttpRequest) -> JsonResponse:
    """Make many checks on one user at once, cancel some, clear in the middle, and ask again.

    A fault strikes in every third of them, and must not be felt by the others.
    """
    user: Any = await request.auser()
    wanted = []
    for given in request.GET.getlist("check"):
        perm, pk = given.split(":")
        wanted.append((perm, await PERMS[perm]._default_manager.aget(pk=pk)))
    fault = faults.current.get()
    tasks = []
    async with asyncio.TaskGroup() as group:
        for number, each in enumerate(wanted * 2):
            is_struck = number % 3 == 0
            faults.current.set(fault if is_struck else "")
            tasks.append(group.create_task((survive if is_struck else check)(user, *each)))
        faults.current.set("")
        for turns, task in enumerate(tasks[::4]):
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            task.cancel()
        await user.aclear_perm_cache()
    answers = [task.result() for task in tasks if not task.cancelled()]
    answers += await asyncio.gather(*(check(user, *each) for each in wanted))
    return JsonResponse({"answers": [each for each in answers if each]})


async def permission_sets(request: HttpRequest, perm: str, pk: int) -> JsonResponse:
    user: Any = await request.auser()
    obj = await PERMS[perm]._default_manager.aget(pk=pk)
    held = await user.aget_all_permissions(obj)
    return JsonResponse({"user": user.username, "pk": pk, "held": sorted(held)})


async def revoked(request: HttpRequest, level: str) -> JsonResponse:
    """Grant, check, revoke, clear and check again, while other checks are in flight.

    Whoever is granted something after the clear has met the "new enemy".
    """
    perms = [each async for each in Permission.objects.filter(content_type__app_label="soak")]
    gate = await Gate._default_manager.acreate()
    new = await User.objects.acreate(username=f"enemy-{uuid4().hex}")
    try:
        await new.user_permissions.aset(perms)
        await gate.keepers.aadd(new)
        user: Any = await User.objects.aget(pk=new.pk)
        first = [await check(user, GATE_PERMS[0], gate)]
        await user.aclear_perm_cache()
        async with asyncio.TaskGroup() as in_flight:
            # One by one, so that the clear finds them in different states.
            for perm in GATE_PERMS * 2:
                in_flight.create_task(check(user, perm, gate))
                await asyncio.sleep(0)
            if level == "model":
                await new.user_permissions.aclear()
            else:
                await gate.keepers.aclear()
            await user.aclear_perm_cache()
            then = await asyncio.gather(*(check(user, perm, gate) for perm in GATE_PERMS))
        then += [await check(user, perm, gate) for perm in GATE_PERMS]
        return JsonResponse({"first": first, "then": then})
    finally:
        await new.adelete()
        await gate.adelete()


async def figures(request: HttpRequest) -> JsonResponse:
    """Count what must not grow."""
    gc.collect()
    objects = gc.get_objects()
    return JsonResponse(
        {
            "users": sum(issubclass(type(each), User) for each in objects),
            "objects": len(objects),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
        }
    )


handler403 = refused
urlpatterns = [
    path("async/<perm>/<int:pk>/", in_async_view),
    path("sync/<perm>/<int:pk>/", in_sync_view),
    path("after-fault/<perm>/<int:pk>/", after_a_fault),
    path("after-fault-sync/<perm>/<int:pk>/", after_a_fault_sync),
    path("sets/<perm>/<int:pk>/", permission_sets),
    path("gathered/", gathered),
    path("revoked/<level>/", revoked),
    path("figures/", figures),
]
for _perm in PERMS:
    _decorate = permission_required((_perm, "obj"), raise_exception=True)
    _views: dict[str, Any] = {
        "decorator": _decorate(of_the_decorator),
        "decorator-sync": _decorate(of_the_decorator_sync),
        "mixin": OfTheMixin.as_view(permission_required=[(_perm, "obj")]),
        "mixin-sync": OfTheMixinSync.as_view(permission_required=[(_perm, "obj")]),
    }
    for _name, _view in _views.items():
        urlpatterns.append(path(f"{_name}/{_perm}/<int:obj>/", _view, {"perm": _perm}))
