"""What is known of an environment variable, and how its value is read: name, meaning, default, unit and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sniffer.core.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One variable. A `default` of "" or None means that there is none; `shown` is what to show in its place.

    `minimum` and `maximum` are both allowed. `secret` says that its value belongs in no log and on no command line.
    """

    group: str
    name: str
    default: T
    meaning: str
    parse: Callable[[str], T]
    unit: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    example: str = ""
    shown: str = ""
    secret: bool = False

    def read(self, environ: Mapping[str, str]) -> T:
        """Its value, or the default when it is unset or empty; raises SettingsError with the bounds it must keep."""
        given = environ.get(self.name, "").strip()
        if not given:
            return self.default
        try:
            value = self.parse(given)
        except ValueError:
            kind = "yes or no" if self.parse is yes_or_no else "a number"
            raise SettingsError(f"{self.name} must be {kind}, not {given!r}") from None
        # A comparison with NaN is false, so NaN is refused here too.
        if isinstance(value, int | float) and not self.minimum <= value <= self.maximum:
            raise SettingsError(f"{self.name} must be {self.bounds()}, not {given}")
        return value

    def required(self, environ: Mapping[str, str]) -> T:
        """Its value; raises SettingsError when it is unset or empty."""
        if not environ.get(self.name, "").strip():
            raise SettingsError(f"{self.name} is not set; it looks like {self.example}")
        return self.read(environ)

    def bounds(self) -> str:
        """The bounds in words, or an empty text."""
        if self.maximum < math.inf:
            return f"from {self.minimum:.15g} to {self.maximum:g}"
        return f"at least {self.minimum:.15g}" if self.minimum > -math.inf else ""

    def default_text(self) -> str:
        """The default with its unit, for people; empty when there is none."""
        if self.shown or self.default in ("", None):
            return self.shown
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        shown = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return f"{shown} {self.unit}".rstrip()

    def line(self) -> str:
        """The meaning, and the default or an example, in one line."""
        if default := self.default_text():
            return f"{self.meaning} (default: {default})"
        return f"{self.meaning}, for example {self.example}" if self.example else self.meaning


def text(group: str, name: str, meaning: str, default: str = "", **more: Any) -> Setting[str]:
    """A text."""
    return Setting(group, name, default, meaning, str, **more)


def seconds(group: str, name: str, default: float, minimum: float, meaning: str) -> Setting[float]:
    """A time in seconds, at least `minimum`."""
    return Setting(group, name, default, meaning, float, "s", minimum)


def integer(group: str, name: str, default: int, minimum: int, meaning: str, unit: str = "") -> Setting[int]:
    """A whole number, at least `minimum`."""
    return Setting(group, name, default, meaning, int, unit, minimum)


def share(group: str, name: str, default: float, meaning: str) -> Setting[float]:
    """A share, from 0 to 1."""
    return Setting(group, name, default, meaning, float, minimum=0, maximum=1)


def yes_or_no(text: str) -> bool:
    """What yes and no may be written as; raises ValueError for anything else."""
    answer = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
    try:
        return answer[text.lower()]
    except KeyError:
        raise ValueError(text) from None
