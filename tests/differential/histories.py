"""What a history is, and strategies that make histories up.

A history is plain data. ``setup`` and ``steps`` are actions: lists that begin with the name of one
of the methods in `tests.differential.library`, followed by its arguments. After the setup and after
each step (but one that is marked quiet) the questions in ``focus`` are asked, so that every step is
something that happens between two equal checks.
"""

import os
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from .scripts import ANSWERS

# The objects by name: their model, primary key and database. Some are one row, or share its key.
OBJECTS: dict[str, tuple[str | None, int | None, str | None]] = {
    "paper": ("Paper", 1, "default"),
    "paper again": ("Paper", 1, "default"),
    "lazy paper": ("lazy", None, None),
    "elsewhere": ("Paper", 1, "other"),
    "draft": ("Draft", 1, "default"),
    "stone": ("Stone", 1, "default"),
    "new": ("Paper", None, None),
    "newer": ("Paper", None, None),
    "sheet": ("Sheet", 1, "default"),
    "text": (None, None, None),
    "value": (None, None, None),  # which is no key either
}
# Where an object looks for access methods, from the nearest place to the farthest.
BASES = {
    "Paper": ("Paper", "Guarded"),
    "Draft": ("Draft", "Paper", "Guarded"),
    "Sheet": ("Sheet", "Paper", "Guarded"),
    "Stone": ("Stone",),
}
CLASSES = ("Guarded", *BASES)
PERMS_OF = {
    "Paper": ("worlds.use_paper", "worlds.bin.paper"),
    "Draft": ("worlds.use_draft",),
    "Sheet": ("worlds.use_sheet",),
    "Stone": ("worlds.use_stone",),
    "Other": ("other.use_paper",),  # the same codename
    "Lost": ("lost.use_paper",),  # and once more, of a model that is not installed
}
INSTALLED = tuple(model for model in PERMS_OF if model != "Lost")
EXISTING = tuple(perm for perms in PERMS_OF.values() for perm in perms)
LINEAGE = {"Draft": ("Draft", "Paper"), "Sheet": ("Sheet", "Paper")}

History = dict[str, Any]

EXAMPLES = int(os.environ.get("DJEM_TEST_EXAMPLES", "0"))
SEED = int(
    os.environ.get("DJEM_TEST_SEED", random.SystemRandom().randrange(2**32) if EXAMPLES else 0)
)

MODEL = "django.contrib.auth.backends.ModelBackend"
OURS = "ours"
VOICES = ("Both", "Sync", "Async")
SOURCES = ("user", "group")
STAGE = "tests.differential.stage"
LOG_NAMES = ("mine", "yours", "auto-worlds.use_paper", "auto-worlds.use_paper-1")
QUESTIONS = (
    "has_perm",
    "has_perms",
    "explain_perm",
    "get_user_permissions",
    "get_group_permissions",
    "get_all_permissions",
    "backend_has_perm",
    "backend_get_user_permissions",
    "backend_get_all_permissions",
)
HALVES = ("get_user_permissions", "get_group_permissions", "backend_get_user_permissions")


def permissions_of(model: str | None) -> frozenset[str]:
    """Return all permissions of a model, with those of the models that it inherits from."""
    if model is None:
        return frozenset()
    return frozenset(perm for base in LINEAGE.get(model, (model,)) for perm in PERMS_OF[base])


def mixed(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Choose one of several strategies, each as often as it is listed.

    `hypothesis.strategies.one_of` would flatten those that are mixed themselves.
    """
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


def of(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(st.just(name), *arguments).map(list)


def once_in(times: int) -> st.SearchStrategy[bool]:
    return st.sampled_from([False] * (times - 1) + [True])


everything = st.sampled_from([*EXISTING, "worlds.unknown"])
any_object = st.sampled_from(list(OBJECTS))
existing = st.sampled_from(EXISTING)
rows = st.sampled_from([name for name in OBJECTS if OBJECTS[name][0] not in (None, "lazy")])
scopes = of("scope", st.sampled_from([None, "a", "b"]))
log_names = st.sampled_from(LOG_NAMES)
tags = st.sampled_from([None, "mine"])
answers = st.sampled_from(
    ["True", "False"] * 8
    + ["None", "denied", "denied, and why", "superuser", "member"] * 3
    + ["boom", "unclear", *ANSWERS]
)
forms = st.sampled_from(
    ["def"] * 4 + ["async def", "both", "nonblocking"] * 2 + ["twin", "forgetful"]
)
backends = mixed(
    st.just([MODEL, OURS]),
    st.permutations([OURS, "Both"]).map(lambda pair: [MODEL, *pair]),
    st.sampled_from(VOICES).flatmap(lambda voice: st.permutations([MODEL, voice, OURS])),
    st.permutations([MODEL, OURS, *VOICES]).map(lambda names: names[:3]),
)
settings = mixed(
    of("setting", st.just("DJEM_UNIVERSAL_OLP"), st.booleans()),
    of("setting", st.just("DJEM_PERM_LOG_VERBOSITY"), st.sampled_from([0, 1, 2])),
    of("setting", st.just("DJEM_OPEN_BY_DEFAULT"), st.booleans()),
    of("backends", backends),
)


class About:
    """Strategies that come back to one permission and one object again and again."""

    def __init__(self, perm: str, name: str | None) -> None:
        model = OBJECTS[name or "text"][0]
        self.perms = mixed(*[st.just(perm)] * 4, everything)
        self.objects = mixed(*[st.just(name)] * 2, any_object, any_object, st.none())
        self.granted = self.perms.filter(EXISTING.__contains__)
        self.codenames = self.perms.map(lambda perm: perm.partition(".")[2])
        self.rows = rows if model in (None, "lazy") else mixed(st.just(name), rows)
        self.check = st.just(["has_perm", perm, name])
        names = mixed(*[self.perms] * 15, st.just(7))
        self.checks = of("has_perm", names, self.objects)
        # The same question about another object, which may share the primary key or the row.
        self.others = of("has_perm", st.just(perm), any_object)
        self.questions = mixed(
            *[self.checks] * 5,
            of("has_perms", st.lists(self.perms, max_size=2), self.objects),
            *[of("explain_perm", names, self.objects)] * 2,
            *[of(name, self.objects) for name in QUESTIONS if "get_" in name],
            of("backend_has_perm", names, self.objects),
        )
        self.scripts = self._scripts()
        own = BASES.get("Paper" if model == "lazy" else model or "Paper", ())
        self.first = self._method(own, st.just(perm.partition(".")[2]))
        some = self._method(CLASSES, self.codenames)
        self.setup = mixed(
            *[self.first] * 2, some, self._said(), settings, self._grants(), self._logs()
        )
        self.actions = mixed(
            *[self._users()] * 4,
            *[settings] * 3,
            *[self._grants()] * 2,
            of("save", self.rows),
            of("set_pk", self.rows, st.sampled_from([1, 2])),
            *[scopes] * 2,
            *[self.questions] * 2,
            self._said(),
            self._logs(),
        )

    def _method(
        self, places: Sequence[str], codenames: st.SearchStrategy[str]
    ) -> st.SearchStrategy[list[Any]]:
        sources = st.sampled_from(SOURCES)
        return of("method", st.sampled_from(places), sources, codenames, self.scripts)

    def _scripts(self) -> st.SearchStrategy[list[Any]]:
        step = mixed(
            of("log", st.sampled_from("ab"), tags),
            of("log", st.sampled_from("ab"), tags),
            of("start", log_names),
            of("end"),
            of("check", self.perms, self.objects, st.booleans()),
            of("check", self.perms, mixed(self.objects, st.just("nothing given")), st.booleans()),
            mixed(of("clear"), scopes),
        )
        steps = st.lists(step, min_size=1, max_size=3)
        marks = st.sampled_from([None, None, "active", "everybody"])
        parts = forms, mixed(st.just([]), steps), mixed(answers, answers, st.just("inner")), marks
        return st.tuples(*parts).map(feasible)

    def _said(self) -> st.SearchStrategy[list[Any]]:
        return of(
            "say",
            st.sampled_from(["Both", *VOICES]),
            st.sampled_from(["model", "object"]),
            self.perms,
            st.sampled_from([True, True, False, "denied", "denied", "boom", 1, "", None]),
        )

    def _grants(self) -> st.SearchStrategy[list[Any]]:
        return mixed(
            of("hold", self.granted, st.booleans()),
            of("join", st.booleans()),
            of("group_hold", self.granted, st.booleans()),
        )

    def _users(self) -> st.SearchStrategy[list[Any]]:
        return mixed(
            of("set_flag", st.just("active"), st.sampled_from([True, True, 1, False, 0])),
            of("set_flag", st.just("superuser"), st.sampled_from([False, False, 0, True, 1])),
            of("clear"),
            of("reload"),
            of("copy", st.sampled_from(["copy", "deepcopy", "pickle"])),
            of("switch"),
        )

    def _logs(self) -> st.SearchStrategy[list[Any]]:
        return mixed(
            of("start_log", log_names), of("log", st.sampled_from("xy"), tags), of("end_log")
        )


about = cache(About)


def feasible(script: Any) -> list[Any]:
    """Leave out what makes no sense, or must not be done by a `nonblocking` method."""
    form, steps, answer, mark = script
    if form == "nonblocking":
        steps = [step for step in steps if step[0] not in ("check", "clear")]
        answer = "superuser" if answer == "member" else answer
    if answer == "inner" and not any(step[0] == "check" for step in steps):
        answer = "True"
    return [form, steps, answer, mark]


def settled(history: History) -> History:
    """Leave out what nothing is promised about.

    Where methods make checks, nobody is asked for one half of them alone: what such a method checks
    may be known by the other half, and then it does not enter itself.
    """
    scripts = [action[4] for action in history["setup"] if action[0] == "method"]
    if not any(step[0] == "check" for script in scripts for step in script[1]):
        return history
    return {
        **history,
        "focus": [action for action in history["focus"] if action[0] not in HALVES],
        "steps": [step for step in history["steps"] if step[0][0] not in HALVES],
    }


@st.composite
def histories(draw: st.DrawFn) -> History:
    perm = draw(mixed(*[st.just("worlds.use_paper")] * 3, existing))
    subject = about(perm, draw(mixed(*[st.just("paper")] * 3, *[any_object] * 4, st.none())))
    focus = [draw(subject.check)]
    focus += draw(st.lists(mixed(subject.others, subject.questions), max_size=1))
    setup = [draw(subject.first) for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2])))]
    held = draw(st.sets(existing, max_size=3))
    if draw(once_in(4)):
        held.discard(perm)
        said = draw(st.sampled_from(["denied", "denied", True, False]))
        setup += [["backends", [MODEL, "Both", OURS]], ["say", "Both", "model", perm, said]]
    elif not draw(once_in(5)):
        held.add(perm)
    setup += draw(st.lists(subject.setup, max_size=4))
    step = st.tuples(subject.actions, once_in(5)).map(list)
    history = {
        "user": draw(st.sampled_from(["mixin"] * 12 + ["plain", "plain"] + ["anonymous"] * 2)),
        "is_active": not draw(once_in(10)),
        "is_superuser": draw(once_in(5)),
        "held": sorted(held),
        "focus": focus,
        "setup": setup,
        "steps": draw(st.lists(step, min_size=1, max_size=16)),
    }
    return settled(history)


BATCH = 10


def check_many(
    check: Callable[[Any], None],
    examples: int,
    first_seed: int,
    cases: st.SearchStrategy[Any] | None = None,
) -> None:
    """Check random cases, which are histories by default.

    They come in batches, each with a seed of its own. Hypothesis makes up the first ten examples of
    a run afresh, and most later ones by repeating parts of those, which finds less here.
    """
    batch = hypothesis_settings(
        max_examples=min(BATCH, examples),
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run = batch(given(histories() if cases is None else cases)(check))
    for number in range(-(-examples // BATCH)):
        seed(first_seed + number)(run)()
