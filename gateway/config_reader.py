"""From TOML text and ``SKERRY_*`` variables to typed section values, with the line of everything that is wrong.

The generic half of ``gateway.config``: it knows sections as frozen dataclasses and nothing of what they mean. A field's
type says what is accepted (str, int, float, bool, Path, tuple[str, ...], each optionally None), a table of ``Rule``s
what is allowed. All problems of a file are collected, so that one run of ``skerry config check`` shows them all.

It deliberately does no I/O: it takes text and a mapping, and can be tested byte by byte.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, or None."""

ENVIRONMENT_PREFIX: Final = "SKERRY_"


class Problem(NamedTuple):
    """One thing wrong: where (a file and its 1-based line, or a variable's name), which key, and why."""

    source: str
    line: int | None
    key: str
    reason: str

    def __str__(self) -> str:
        """``file:line: [section] key: reason``."""
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.key}: {self.reason}" if self.key else f"{place}: {self.reason}"


class ConfigError(ValueError):
    """A configuration that cannot be used; ``problems`` says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Rule(NamedTuple):
    """What is allowed of a value beyond its type. Bounds are inclusive."""

    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    check: Check | None = None


def settable_fields(schema: type) -> list[dataclasses.Field[Any]]:
    """The fields of a section's dataclass that are keys: all but nested records. ``repr=False`` marks a secret."""
    hints = get_type_hints(schema)
    return [
        field
        for field in dataclasses.fields(schema)
        if not (dataclasses.is_dataclass(hints[field.name]) or hasattr(hints[field.name], "_fields"))
    ]


class Reader:
    """Reads sections out of one TOML text and one environment, remembering what was wrong and what was asked for."""

    def __init__(
        self,
        text: str,
        source: str,
        environment: Mapping[str, str],
        sections: Mapping[str, type],
        rules: Mapping[tuple[str, str], Rule],
    ) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._has_text = bool(text)
        self._environment = environment
        self._sections = sections
        self._rules = rules
        self._lines = _find_lines(text)
        self._origins: dict[tuple[str, str], tuple[str, int | None]] = {}
        try:
            self._document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+)", str(error))
            line = int(found[1]) if found else text.count("\n") + 1
            raise ConfigError([Problem(source, line, "", str(error).split(" (at ")[0])]) from None
        self._refuse_unknown()

    def section(self, name: str) -> dict[str, Any]:
        """Checked values of one section: only what was given, defaults are the dataclass's."""
        schema = self._sections[name]
        hints = get_type_hints(schema)
        table = self._document.get(name, {})
        values: dict[str, Any] = {}
        for field in settable_fields(schema):
            variable = f"{ENVIRONMENT_PREFIX}{name}_{field.name}".upper()
            if variable in self._environment:
                self._origins[name, field.name] = (variable, None)
                raw: Any = self._environment[variable]
                self._take(values, name, field, lambda: _parse_text(raw, hints[field.name]))  # noqa: B023
            elif isinstance(table, dict) and field.name in table:
                self._origins[name, field.name] = (self._source, self._line(name, field.name))
                raw = table[field.name]
                self._take(values, name, field, lambda: _check_type(raw, hints[field.name]))  # noqa: B023
        return values

    def is_from_file(self, name: str, key_name: str) -> bool:
        """Whether a key was given in the file (and not by a variable or an option)."""
        return self._origins.get((name, key_name), ("", None))[1] is not None

    def complain(self, name: str, key_name: str, reason: str) -> None:
        """Add a problem about a key (or, with an empty key, a section), at the place where it was given."""
        source, line = self._origins.get((name, key_name), (self._source, self._line(name, key_name)))
        self.problems.append(Problem(source, line, f"[{name}] {key_name}".strip(), reason))

    def _take(
        self, values: dict[str, Any], name: str, field: dataclasses.Field[Any], convert: Callable[[], Any]
    ) -> None:
        try:
            value = convert()
        except ValueError as error:
            self.complain(name, field.name, str(error))
            return
        reason = _find_fault(value, self._rules.get((name, field.name), Rule()), secret=not field.repr)
        if reason is None:
            values[field.name] = value
        else:
            self.complain(name, field.name, reason)

    def _refuse_unknown(self) -> None:
        for name, table in self._document.items():
            if name not in self._sections:
                what = "section" if isinstance(table, dict) else "key outside a section"
                reason = f"unknown {what}{_suggest(name, self._sections)}"
                self.problems.append(Problem(self._source, self._line(name, ""), f"[{name}]", reason))
            elif not isinstance(table, dict):
                self.problems.append(
                    Problem(self._source, self._line("", name), name, "must be a section, [" + name + "]")
                )
            else:
                known = {field.name for field in settable_fields(self._sections[name])}
                for key_name in table.keys() - known:
                    reason = f"unknown key{_suggest(key_name, known)}"
                    self.problems.append(
                        Problem(self._source, self._line(name, key_name), f"[{name}] {key_name}", reason)
                    )
        self.problems.sort(key=lambda problem: problem.line or 0)
        variables = {
            f"{ENVIRONMENT_PREFIX}{name}_{field.name}".upper()
            for name, schema in self._sections.items()
            for field in settable_fields(schema)
        }
        prefixes = tuple(f"{ENVIRONMENT_PREFIX}{name}_".upper() for name in self._sections)
        for variable in sorted(self._environment):
            # Only our sections: an orchestrator may set SKERRY_PORT and the like of its own accord.
            if variable.startswith(prefixes) and variable not in variables:
                reason = f"unknown variable{_suggest(variable, variables)}"
                self.problems.append(Problem(variable, None, "", reason))

    def _line(self, name: str, key_name: str) -> int | None:
        if not self._has_text:
            return None
        return self._lines.get((name, key_name)) or self._lines.get((name, "")) or self._lines.get(("", name)) or 1


def _suggest(word: str, known: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "; known are " + ", ".join(sorted(known))


def _find_lines(text: str) -> dict[tuple[str, str], int]:
    """(section, key) → line of the text, as far as a reader's eye can tell; (section, "") is the header's line."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w\"'-]+)[^\]]*\]", line):
            section = header[1].strip("\"'")
            lines.setdefault((section, ""), number)
        elif assignment := re.match(r"\s*([\w\"'-]+)\s*(?:\.\s*([\w\"'-]+)\s*)?=", line):
            first, second = assignment[1].strip("\"'"), (assignment[2] or "").strip("\"'")
            place = (section, first) if section else (first, second) if second else ("", first)
            lines.setdefault(place, number)
    return lines


def _find_fault(value: Any, rule: Rule, *, secret: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if (rule.low is not None and value < rule.low) or (rule.high is not None and value > rule.high):
        return f"must be {_describe_bounds(rule.low, rule.high)}, not {value}"
    if rule.choices and value not in rule.choices:
        return f"must be one of {', '.join(rule.choices)}" + ("" if secret else f", not {value!r}")
    return rule.check(value) if rule.check else None


def _describe_bounds(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"between {low} and {high}"


def _strip_optional(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _check_type(value: Any, hint: Any) -> Any:
    """A TOML value as the hinted type; ``ValueError`` with what was expected. Integers may stand for floats."""
    hint = _strip_optional(hint)
    if hint is Path and isinstance(value, str):
        return _parse_path(value)
    if get_origin(hint) is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError("must be a list of strings")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    expected = {
        str: "a string",
        Path: "a string (a path)",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
    }
    raise ValueError(f"must be {expected[hint]}, not {type(value).__name__}")


def _parse_text(text: str, hint: Any) -> Any:
    """A variable's text as the hinted type: lists are separated by commas, booleans are true/false, 1/0, yes/no."""
    hint = _strip_optional(hint)
    if hint is Path:
        return _parse_path(text)
    if get_origin(hint) is tuple:
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if hint is bool:
        words = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        if text.strip().lower() not in words:
            raise ValueError("must be true or false")
        return words[text.strip().lower()]
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError("must be a whole number" if hint is int else "must be a number") from None
    return text


def _parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("must be a path, not empty")
    return Path(os.path.expanduser(text))
