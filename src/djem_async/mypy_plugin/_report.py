"""The errors that the plugin reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy.errorcodes import ErrorCode

if TYPE_CHECKING:
    from mypy.errors import Errors
    from mypy.nodes import Context
    from mypy.options import Options

ACCESS: Final = ErrorCode("djem-access", "Check access methods of models", "djem_async")
PERM: Final = ErrorCode("djem-perm", "Check names of permissions", "djem_async")
AWAIT: Final = ErrorCode("djem-await", "Check that permission checks are awaited", "djem_async")


class Report:
    """Reports errors in a file, also after its analysis."""

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self._place = (errors.file, errors.target_module, errors.options)

    @property
    def options(self) -> Options:
        """Those of the file."""
        return self._place[2]

    def __call__(self, message: str, node: Context, code: ErrorCode) -> None:
        errors = self._errors
        before = (errors.file, errors.target_module, errors.options, errors.scope)
        # Without a scope the error belongs to the module: the daemon drops it when it analyses the
        # class again, and not when it only checks the method.
        errors.set_file(*self._place, scope=None)
        errors.report(node.line, node.column, message, code=code)
        errors.set_file(*before)
