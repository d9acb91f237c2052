"""The context variables of the library.

Each has an immutable value, because a task starts with a copy of its parent's context: a mutable
value would be shared by all of them. They are here because what makes calls in another thread
has to carry all of them over.
"""

from contextvars import ContextVar
from typing import Any, Final

innermost_call: Final[ContextVar[Any]] = ContextVar("djem_async_innermost_call", default=None)
"""The innermost call of user code that a check is making, see `djem_async._running`."""

active_logs: Final[ContextVar[Any]] = ContextVar("djem_async_active_logs", default=())
"""The logs that are active, from the outermost to the innermost, see `djem_async._log_stack`."""

finished_logs: Final[ContextVar[Any]] = ContextVar("djem_async_finished_logs", default=())
"""The logs that this context has finished last, see `djem_async._log_stack`."""

OWN: Final[dict[ContextVar[Any], Any]] = {innermost_call: None, active_logs: (), finished_logs: ()}
"""All of them, with their defaults."""
