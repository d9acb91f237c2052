"""A project with Django's own user model, which cannot be had beside another in one process.

`tests.test_backends` runs it: ``python -m tests.stock_user``.
"""

import copy
import itertools
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.management import call_command

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djem_async"],
    AUTHENTICATION_BACKENDS=[
        "django.contrib.auth.backends.ModelBackend",
        "djem_async.auth.ObjectPermissionsBackend",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

PERM = "auth.change_group"


def main() -> None:
    from django.contrib.auth.models import AnonymousUser, Group, Permission, User
    from django.test import override_settings

    call_command("migrate", verbosity=0)
    group = Group.objects.create(name="editors")
    User.objects.create_user("user.name").user_permissions.set(
        Permission.objects.filter(codename="change_group")
    )
    calls: list[Any] = []

    def stored() -> User:
        return User.objects.get(username="user.name")

    def check(user: Any) -> bool:
        (decision,) = {user.has_perm(PERM, group), async_to_sync(user.ahas_perm)(PERM, group)}
        sets = user.get_all_permissions(group), async_to_sync(user.aget_all_permissions)(group)
        assert user.is_superuser or all((PERM in found) is decision for found in sets)
        return decision

    def access_method(self: Group, user: User) -> bool:
        calls.append(user)
        return user.first_name == "Ann"

    assert check(stored())  # no access method: the object level is open
    Group._user_can_change_group = access_method  # type: ignore[attr-defined]
    for verbosity, universal in itertools.product((0, 1, 2), (False, True)):
        with override_settings(DJEM_PERM_LOG_VERBOSITY=verbosity, DJEM_UNIVERSAL_OLP=universal):
            calls.clear()
            user = stored()
            assert not check(user)
            assert calls == [user]
            user.first_name = "Ann"
            assert not check(user)  # remembered
            assert check(copy.deepcopy(user))
            user.is_active = False
            assert not check(user)
            user = stored()
            user.is_superuser = True
            assert check(user)  # Django grants without asking any backend
            assert not check(AnonymousUser())


if __name__ == "__main__":
    main()
