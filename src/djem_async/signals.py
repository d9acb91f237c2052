"""Signals."""

from typing import Final

from django.dispatch import Signal

__all__ = ["permission_checked"]

permission_checked: Final = Signal()
"""Sent after each check that code has asked for, nested ones included.

The sender is the class of the user. Receivers get ``explanation``, a
`djem_async.explain.Explanation`, and ``is_nested``: whether an access method has asked for the
check. An exception in a receiver changes no decision. A list is one check: its explanation has a
``model`` and no ``object``. `explain_perm`, `prefetch_perms`, ``with_perm`` and sets of permissions
send nothing, nor do checks that a receiver makes. While nobody listens, it costs nothing.
"""
