"""What goes wrong in libraries for object-level permissions.

Most traps are tested elsewhere: unions of permission sets and superusers (`test_decision_matrix`),
backends with sync rules only (`test_other_backends`) or without `get_user` (`test_apps`), decisions
shared by objects or copies (`test_caching`), falsy objects (`test_backends`), answers such as a `Q`
(`test_answers`), users without logs and logs left active (`test_permission_logs`), contexts that
grow (`test_memory`), async methods under a sync check (`test_access`), and two users in an async
view (`test_middleware`).
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from djem_async.auth import ObjectPermissionsBackend
from tests.conftest import PATIENCE, PERM
from tests.testapp.models import Thing, ThingProxy


def test_an_unawaited_check_raises(user, thing):
    backend = ObjectPermissionsBackend()
    checks = [user.ahas_perm(PERM, thing), user.ahas_perms([PERM], thing)]
    checks += [backend.ahas_perm(each, PERM, thing) for each in (user, AnonymousUser())]
    for check in checks:
        with pytest.raises(TypeError, match="was not awaited"):
            bool(check)


@pytest.mark.parametrize("pk", [None, 1])
def test_two_unsaved_objects_do_not_share_a_decision(api, user, access_methods, pk):
    access_methods(Thing, _user_can_use_thing=lambda self, user: self.name == "good")
    assert api(user).has_perm(PERM, Thing(pk=pk, name="good")) is True
    assert api(user).has_perm(PERM, Thing(pk=pk, name="bad")) is False


@pytest.mark.parametrize(("is_cleared", "is_nested"), [(False, False), (True, False), (True, True)])
async def test_a_cancelled_check_whose_thread_finishes_later_stores_nothing(
    universal_superuser, access_methods, is_cleared, is_nested
):
    """A check that the access method makes goes on, and stores nothing after a clear."""
    entered, opened, left = (threading.Event() for _ in range(3))
    answers = [True, False]

    def slow(self: Any, user: Any) -> bool:
        entered.set()
        assert opened.wait(PATIENCE)
        return answers.pop(0)

    def outer(self: Any, user: Any) -> bool:
        granted = user.has_perm(PERM, proxy) if is_nested else slow(self, user)
        left.set()
        return granted

    access_methods(Thing, _user_can_use_thing=outer)
    access_methods(ThingProxy, _user_can_use_thing=slow)
    thing, proxy = (kind.from_db("default", ["id"], [1]) for kind in (Thing, ThingProxy))
    task = asyncio.create_task(universal_superuser.ahas_perm(PERM, thing))
    assert await asyncio.to_thread(entered.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if is_cleared:
        await universal_superuser.aclear_perm_cache()
    opened.set()
    assert await asyncio.to_thread(left.wait, PATIENCE)
    assert await universal_superuser.ahas_perm(PERM, thing) is False
    assert answers == []


async def test_logs_of_gathered_tasks_do_not_mix(universal_superuser, access_methods, settings):
    settings.DJEM_PERM_LOG_VERBOSITY = 1

    async def slow(self: Any, user: Any) -> bool:
        for _ in range(3):
            user.log(self.name)
            await asyncio.sleep(0)
        return True

    async def check(thing: Thing) -> list[str]:
        await universal_superuser.ahas_perm(PERM, thing)
        log = universal_superuser.get_last_log(raw=True)
        return [entry for entry in log if not entry.tags]

    access_methods(Thing, _user_can_use_thing=slow)
    # Unsaved objects: their logs have one name.
    logs = await asyncio.gather(*(check(Thing(name=name)) for name in "aba"))
    assert logs == [[name] * 3 for name in "aba"]
