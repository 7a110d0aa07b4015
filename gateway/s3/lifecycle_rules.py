"""Lifecycle rules as values, and what they say of a version at a time: rules × facts × now → action. Pure.

Source: AWS User Guide, "Lifecycle configuration elements", "How long an object has been noncurrent", "Lifecycle
actions on conflicting rules". Days are added to a creation time and rounded up to the next midnight UTC; a version is
noncurrent since its successor was written; permanent deletion comes before transition, transition before a delete
marker, the colder class before the warmer one. Whoever acts on a verdict asks again inside the commit.

A ``Calendar`` says how long a day is: with a day of another length (tests, demos) nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, NamedTuple

import msgspec

DAY_MS: Final = 86_400_000
STANDARD: Final = "STANDARD"
WATERFALL: Final = (
    STANDARD,
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
"""Storage classes, warmest first: transitions go down only."""
TRANSITION_CLASSES: Final = WATERFALL[2:]
ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes whose objects must be restored before they can be read."""
ALL_128K: Final = "all_storage_classes_128K"
BY_CLASS: Final = "varies_by_storage_class"
SMALL_BYTES: Final = 128 << 10
"""Smaller objects are not worth a transition, unless a rule speaks of sizes."""
_PREFERRED: Final = {name: rank for rank, name in enumerate(WATERFALL)} | {"INTELLIGENT_TIERING": 4, "ONEZONE_IA": 3}


class Transition(msgspec.Struct, frozen=True, array_like=True):
    """To a colder class: ``days`` after creation (or after becoming noncurrent), or at ``date_ms``; ``newer``: how many
    newer noncurrent versions stay where they are.
    """

    storage_class: str
    days: int | None = None
    date_ms: int | None = None
    newer: int = 0


class Filter(msgspec.Struct, frozen=True, array_like=True):
    """Which objects: all conditions hold. ``shape``: the element it was written with ("" is a legacy Prefix)."""

    shape: str = ""
    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    size_above: int | None = None
    size_below: int | None = None


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """One rule. What is None is not in it; ``expire_markers``: ExpiredObjectDeleteMarker as written."""

    id: str
    enabled: bool
    filter: Filter = Filter()
    expire_days: int | None = None
    expire_date_ms: int | None = None
    expire_markers: bool | None = None
    noncurrent_days: int | None = None
    noncurrent_newer: int = 0
    abort_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[Transition, ...] = ()


class Lifecycle(msgspec.Struct, frozen=True, array_like=True):
    """A bucket's configuration. ``small``: which small objects transition at all (``ALL_128K`` or ``BY_CLASS``)."""

    rules: tuple[Rule, ...]
    small: str = ALL_128K

    @property
    def uses_tags(self) -> bool:
        """Whether any rule looks at tags."""
        return any(rule.filter.tags for rule in self.rules)


class Facts(NamedTuple):
    """What is known of one version when it is judged.

    ``since_ms``: when its successor was written, 0 for the current version; ``newer``: how many noncurrent versions are
    newer; ``is_only``: the key's only version; ``versioned``: expiring the current version leaves a delete marker.
    """

    key: str
    size: int
    modified_ms: int
    storage_class: str = STANDARD
    tags: Mapping[str, str] = {}
    is_latest: bool = True
    is_marker: bool = False
    since_ms: int = 0
    newer: int = 0
    is_only: bool = True
    versioned: bool = False


class Kind(Enum):
    """What is to be done: expire the current version, remove a version (or marker) for good, give it a colder class."""

    EXPIRE = "expire"
    REMOVE = "remove"
    REMOVE_MARKER = "remove marker"
    TRANSITION = "transition"


class Action(NamedTuple):
    """One thing to do, by which rule, and since when it is due."""

    kind: Kind
    rule: str
    due_ms: int
    storage_class: str = ""


class Calendar(NamedTuple):
    """How long a day lasts, ms. Real days end at midnight UTC; others are for tests."""

    day_ms: int = DAY_MS

    @property
    def is_for_tests(self) -> bool:
        """Whether days are shortened: what AWS asks of ages and sizes before a move would only be in the way then."""
        return self.day_ms != DAY_MS

    def due_ms(self, start_ms: int, days: int) -> int:
        """``days`` after ``start_ms``, rounded up to the next midnight."""
        if self.is_for_tests:
            return start_ms + days * self.day_ms
        return ((start_ms + days * DAY_MS) // DAY_MS + 1) * DAY_MS


REAL: Final = Calendar()


def decide(lifecycle: Lifecycle, facts: Facts, now_ms: int, calendar: Calendar = REAL) -> Action | None:
    """What is due for a version now; None if nothing."""
    rules = [rule for rule in lifecycle.rules if rule.enabled and matches(rule.filter, facts)]
    if not rules:
        return None
    removal = _first(_removals(rules, facts, now_ms, calendar), now_ms)
    if removal is not None:
        return removal
    moves = [move for move in _moves(lifecycle, rules, facts, calendar) if move.due_ms <= now_ms]
    if moves:
        return max(moves, key=lambda move: _PREFERRED[move.storage_class])
    return _first(_expiries(rules, facts, calendar), now_ms) if facts.versioned else None


def find_expiry(lifecycle: Lifecycle, facts: Facts, calendar: Calendar = REAL) -> Action | None:
    """When the current version will expire, and by which rule: the ``x-amz-expiration`` header."""
    rules = [rule for rule in lifecycle.rules if rule.enabled and matches(rule.filter, facts)]
    return min(_expiries(rules, facts, calendar), key=lambda action: action.due_ms, default=None)


def find_abort(lifecycle: Lifecycle, key: str, initiated_ms: int, calendar: Calendar = REAL) -> tuple[int, str] | None:
    """(when, rule) an open upload will be aborted; None if never."""
    found = [
        (calendar.due_ms(initiated_ms, rule.abort_days), rule.id)
        for rule in lifecycle.rules
        if rule.enabled and rule.abort_days is not None and key.startswith(rule.filter.prefix)
    ]
    return min(found, default=None)


def matches(filter: Filter, facts: Facts) -> bool:
    """Whether a rule speaks of this version. A delete marker has neither size nor tags."""
    if not facts.key.startswith(filter.prefix):
        return False
    if facts.is_marker:
        return not filter.tags and filter.size_above is None and filter.size_below is None
    if filter.size_above is not None and facts.size <= filter.size_above:
        return False
    if filter.size_below is not None and facts.size >= filter.size_below:
        return False
    return all(facts.tags.get(key) == value for key, value in filter.tags)


def _first(actions: Iterable[Action], now_ms: int) -> Action | None:
    due = [action for action in actions if action.due_ms <= now_ms]
    return min(due, key=lambda action: action.due_ms, default=None)


def _expiries(rules: Iterable[Rule], facts: Facts, calendar: Calendar) -> Iterable[Action]:
    """When each rule lets the current version expire."""
    if not facts.is_latest or facts.is_marker:
        return
    for rule in rules:
        if rule.expire_days is not None:
            yield Action(Kind.EXPIRE, rule.id, calendar.due_ms(facts.modified_ms, rule.expire_days))
        elif rule.expire_date_ms is not None:
            yield Action(Kind.EXPIRE, rule.id, rule.expire_date_ms)


def _removals(rules: Iterable[Rule], facts: Facts, now_ms: int, calendar: Calendar) -> Iterable[Action]:
    """What ends a version for good."""
    if not facts.is_latest:
        for rule in rules:
            if rule.noncurrent_days is not None and facts.newer >= rule.noncurrent_newer:
                yield Action(Kind.REMOVE, rule.id, calendar.due_ms(facts.since_ms, rule.noncurrent_days))
        return
    if facts.is_marker:
        yield from _marker_removals(rules, facts, now_ms, calendar)
    elif not facts.versioned:
        yield from _expiries(rules, facts, calendar)


def _marker_removals(rules: Iterable[Rule], facts: Facts, now_ms: int, calendar: Calendar) -> Iterable[Action]:
    """A marker that hides nothing any more goes at once where a rule says so, else at the age that objects have."""
    if not facts.is_only:
        return
    for rule in rules:
        if rule.expire_markers:
            yield Action(Kind.REMOVE_MARKER, rule.id, min(facts.modified_ms, now_ms))
        elif rule.expire_days is not None:
            yield Action(Kind.REMOVE_MARKER, rule.id, calendar.due_ms(facts.modified_ms, rule.expire_days))
        elif rule.expire_date_ms is not None:
            yield Action(Kind.REMOVE_MARKER, rule.id, rule.expire_date_ms)


def _moves(lifecycle: Lifecycle, rules: Iterable[Rule], facts: Facts, calendar: Calendar) -> Iterable[Action]:
    """Transitions to colder classes, due or not."""
    if facts.is_marker or facts.storage_class not in WATERFALL:
        return
    place = WATERFALL.index(facts.storage_class)
    start_ms = facts.modified_ms if facts.is_latest else facts.since_ms
    for rule in rules:
        for transition in rule.transitions if facts.is_latest else rule.noncurrent_transitions:
            colder = transition.storage_class
            if WATERFALL.index(colder) <= place or not (
                calendar.is_for_tests or _is_worth(lifecycle, rule, facts, colder)
            ):
                continue
            if not facts.is_latest and facts.newer < transition.newer:
                continue
            due_ms = transition.date_ms
            if due_ms is None:
                due_ms = calendar.due_ms(start_ms, transition.days or 0)
            yield Action(Kind.TRANSITION, rule.id, due_ms, colder)


def _is_worth(lifecycle: Lifecycle, rule: Rule, facts: Facts, storage_class: str) -> bool:
    """Small objects stay, unless their rule speaks of sizes, or (as configured) the class is an archive."""
    if facts.size >= SMALL_BYTES or rule.filter.size_above is not None or rule.filter.size_below is not None:
        return True
    return lifecycle.small == BY_CLASS and storage_class in ARCHIVES
