"""Helpers for the tests of projects."""

from ._assertions import aassert_denied, aassert_granted, assert_denied, assert_granted
from ._capture import capture_checks
from ._lists import assert_lists_agree
from ._permissions import agrant, arevoke, grant, revoke

__all__ = [
    "aassert_denied",
    "aassert_granted",
    "agrant",
    "arevoke",
    "assert_denied",
    "assert_granted",
    "assert_lists_agree",
    "capture_checks",
    "grant",
    "revoke",
]
