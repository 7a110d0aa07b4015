"""Wildcards and policy variables: does a text match ``home/${aws:username}/*``? Pure.

``*`` is any run of characters, ``?`` any one. ``${name}`` stands for the request's value of that key, taken literally
(a star in a user's name is no wildcard); ``${name, 'default'}`` for a default where there is none; ``${*}``, ``${?}``,
``${$}`` for these characters themselves. A variable without value makes the whole pattern match nothing.

Matching takes the leftmost place for each piece between stars, which is right for globs, and so is never exponential.
Source: IAM User Guide, "IAM policy elements: Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Lookup = Callable[[str], str | None]
"""From a condition key (lower case) to the request's one value; None if it has none, or several."""

_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_REMEMBERED_MAX: Final = 2048
_ESCAPES: Final = {"*": "*", "?": "?", "$": "$"}
_DEFAULT: Final = re.compile(r"\s*([^,'\s]+)\s*(?:,\s*'([^']*)'\s*)?")


def _find_value(inner: str, lookup: Lookup) -> str | None:
    """What ``${inner}`` stands for."""
    if inner in _ESCAPES:
        return _ESCAPES[inner]
    parsed = _DEFAULT.fullmatch(inner)
    if parsed is None:
        return None
    found = lookup(parsed[1].lower())
    return parsed[2] if found is None else found


def _split(pattern: str) -> list[str]:
    """Plain text and variables' insides, in turn."""
    return _VARIABLE.split(pattern)


def split_outside_variables(text: str, count_max: int) -> list[str]:
    """``text`` between its first colons, at most ``count_max`` pieces; a colon inside ``${…}`` is no border."""
    if "${" not in text:
        return text.split(":", count_max - 1)
    pieces, at = [], 0
    for piece in _VARIABLE.sub(lambda found: "_" * len(found[0]), text).split(":", count_max - 1):
        pieces.append(text[at : at + len(piece)])
        at += len(piece) + 1
    return pieces


def expand_text(text: str, lookup: Lookup | None) -> str | None:
    """``text`` with its variables filled in; None if one has no value. ``lookup`` None: there are no variables."""
    if lookup is None or "${" not in text:
        return text
    pieces = []
    for number, piece in enumerate(_split(text)):
        value = _find_value(piece, lookup) if number % 2 else piece
        if value is None:
            return None
        pieces.append(value)
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _compile(pieces: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """One expression for each run between stars. ``pieces``: patterns and literals in turn."""
    runs = [""]
    for number, piece in enumerate(pieces):
        if number % 2:
            runs[-1] += re.escape(piece)
            continue
        first, *others = piece.split("*")
        runs[-1] += _escape_run(first)
        runs += [_escape_run(other) for other in others]
    return tuple([re.compile(run, re.DOTALL) for run in runs])


def _escape_run(run: str) -> str:
    return ".".join(re.escape(part) for part in run.split("?"))


def match_pattern(pattern: str, text: str, lookup: Lookup | None = None) -> bool:
    """Whether all of ``text`` matches ``pattern``; case counts. ``lookup`` None: ${…} is plain text."""
    if lookup is not None and "${" in pattern:
        pieces = []
        for number, piece in enumerate(_split(pattern)):
            value = _find_value(piece, lookup) if number % 2 else piece
            if value is None:
                return False
            pieces.append(value)
        # What is long is a request's and comes once: remembering it would let clients fill the memory.
        compile_runs = _compile if sum(map(len, pieces)) <= _REMEMBERED_MAX else _compile.__wrapped__
        runs = compile_runs(tuple(pieces))
    elif "*" not in pattern and "?" not in pattern:
        return pattern == text
    else:
        runs = _compile((pattern,))
    return _match_runs(runs, text)


def _match_runs(runs: tuple[re.Pattern[str], ...], text: str) -> bool:
    if len(runs) == 1:
        return runs[0].fullmatch(text) is not None
    first = runs[0].match(text)
    if first is None:
        return False
    at = first.end()
    for run in runs[1:-1]:
        found = run.search(text, at)
        if found is None:
            return False
        at = found.end()
    # The last run is of one length (a character is one, a star ends a run), so it can only match at the very end.
    return _ends_with(runs[-1], text, at)


def _ends_with(run: re.Pattern[str], text: str, at: int) -> bool:
    width = _width(run)
    return len(text) - width >= at and run.fullmatch(text, len(text) - width) is not None


@lru_cache(maxsize=4096)
def _width(run: re.Pattern[str]) -> int:
    """How many characters a run matches: escapes count as one."""
    return len(re.sub(r"\\(.)", r"\1", run.pattern, flags=re.DOTALL))
