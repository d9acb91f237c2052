"""Signals."""

from typing import Final

from django.dispatch import Signal

__all__ = ["permission_checked"]

permission_checked: Final = Signal()
"""A signal that is sent after each check, nested checks included.

The sender is the class of the user. Receivers get ``explanation``, a
`djem_async.explain.Explanation`, and ``is_nested``, which tells whether an access method made the
check. It's sent with ``send_robust`` or ``asend_robust``, so an exception in a receiver doesn't
change a decision. A list is one check: its explanation has a ``model`` and no ``object``.

It isn't sent for ``explain_perm``, ``prefetch_perms``, ``with_perm`` and sets of permissions, or
for checks that a receiver makes. Without receivers, it costs nothing.
"""
