"""Where djem 0.9.0a8 is meant to differ: what djem does, by the page that says otherwise."""

PAGES = {
    "howto/access-methods": {
        "none": "None counts as no method, and grants",
        "coroutine": "the coroutine of an `async def` is true, and grants",
        "twin": "a lone async twin is not known",
        "no answer": "whatever is true grants: text, containers, functions, enum members, `Q`",
        "reason": "the message of `PermissionDenied` is lost",
        "doubt": "an answer is remembered before its truth value is asked, which may fail",
        "log": "`log` in a method is a KeyError where logging is off",
        "last log": "`get_last_log` in a method is a KeyError before the first log",
        "own log": "a method can end the log of its check, or leave one active above it",
        "recursion": "a check that enters itself overflows the stack",
        "mark": "there is no `without_model_level`",
        "null": "in a method, None as object asks for the model level",
        "closed": "an object without access methods is always open",
        "elsewhere": "permissions of other models are open, and ask methods of their codename",
        "dot": "the codename is what follows the last dot",
    },
    "howto/logging": {
        "error": "an exception leaves the log of the check active",
        "no mixin": "users without the mixin are an AttributeError where logging is on",
        "replay": "a remembered decision comes without its lines",
        "name": "a check fails where a log of its name is active",
    },
    "explanation/caching": {
        "absence": "that an object has no access method is remembered",
        "unsaved": "all unsaved objects share a decision",
        "key": "decisions are shared by objects of equal key, whatever their model and database",
        "copy": "caches and logs travel with a copy",
        "clear": "clearing stops at the first of Django's caches that is missing",
        "superuser": "the sets that are cached first stay when `is_superuser` changes",
        "flight": "what is decided after a clear in the same check is stored",
        "scope": "there is no `perm_cache_scope`",
    },
    "reference/api": {
        "false object": "an object that is false is no object",
        "no model": "what is no model instance is an AttributeError",
        "lineage": "sets leave out the permissions of parent models",
        "implicit": "the backend itself asks access methods about superusers",
        "argument": "keys as objects, and names that are no strings, are taken",
        "raw": "the backend returns what the method returned",
        "backend log": "the backend itself needs an active log where logging is on",
        "async backend": "a backend that has the async form alone is not asked",
    },
}
DIFFERENCES = {name: text for texts in PAGES.values() for name, text in texts.items()}
