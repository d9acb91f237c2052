"""Object-level permissions for async Django.

Nothing is imported here: Django imports this package before its apps are ready.
The public names live in `djem_async.auth`, `djem_async.models`, `djem_async.shortcuts`,
`djem_async.access`, `djem_async.logs`, `djem_async.exceptions`, `djem_async.protocols`,
`djem_async.middleware`, `djem_async.explain`, `djem_async.signals` and `djem_async.test`.
"""

__version__ = "0.1.0"
