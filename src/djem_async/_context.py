"""The context variables of the library.

Their values are immutable: tasks start with a copy of their parent's context, so they would share
a mutable value. The variables are in one module, because calls in another thread have to pass on
all of them.
"""

from contextvars import ContextVar
from typing import Any, Final

innermost_call: Final[ContextVar[Any]] = ContextVar("djem_async_innermost_call", default=None)
"""The innermost call of user code that a check is making. See `djem_async._running`."""

active_logs: Final[ContextVar[Any]] = ContextVar("djem_async_active_logs", default=())
"""The active logs, from the outermost to the innermost. See `djem_async._log_stack`."""

finished_logs: Final[ContextVar[Any]] = ContextVar("djem_async_finished_logs", default=())
"""The logs that this context has finished last. See `djem_async._log_stack`."""

OWN: Final[dict[ContextVar[Any], Any]] = {innermost_call: None, active_logs: (), finished_logs: ()}
"""All variables with their defaults."""
