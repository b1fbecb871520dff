"""Secrets: URLs that show no password, and the removal of a process's secrets from whatever it says.

Nothing here looks for what resembles a secret. A secret is known by where it stands: in a variable, a URL's user part,
a credential file. Whoever reads one learns it here, and it is then removed from every log line, error and stored text,
in whatever encoding a foreign system quotes it.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterable, Mapping
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"

SHORTEST = 5
"""As in Airflow: what is shorter cannot be told from the words around it, and is hidden in its own URL alone."""

_LAST_KEPT = 3
"""Of secrets that are renewed so many of one place are known: what answers late may still quote those before."""

LONGEST = 8192
"""Characters that a secret takes at most, encoded: so much more of a text is looked at before it is cut."""

_SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "MYSQL_PWD",
    "SNIFFER_REVIEW_OIDC_CLIENT_SECRET",
    "SNIFFER_REVIEW_SECOND_SECRET",
)

_SHOWN_PARAMETERS = frozenset(
    {
        *("charset", "unix_socket", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "ssl_capath", "ssl_cipher"),
        *("list-type", "prefix", "delimiter", "encoding-type", "max-keys", "start-after", "versionid", "partnumber"),
        *("x-amz-algorithm", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-id"),
        *("dag_id", "run_id", "limit", "offset", "fieldmanager", "force", "propagationpolicy", "labelselector"),
    }
)
"""Parameters of a URL's query whose values are no secret; those of all others are hidden."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PARAMETER = re.compile(r"([?&;])([^?&;=#/@]+)=([^&;#]*)")
_URL_IN_TEXT = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`|\\^{}]+")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|x-amz-security-token|(?:set-)?cookie)(['\"]?\s*[:=]\s*(?-i:b)?)"
    r"(?:(['\"])(?:(?!\3).)*\3|(?:(?:basic|bearer|aws4-hmac-sha256)\s+)?[^\r\n'\"]*)"
)
_NO_URL_OF_OURS = ("s3://", "file://")
"""After these comes a key or a path, in which `@` and `?` are characters like any other."""


_SHORT_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


class SecretUrl:
    """A URL that may hold a password: shown without it, and known to this process; whole only by reveal()."""

    __slots__ = ("_text",)

    def __init__(self, text: str | SecretUrl) -> None:
        self._text: str = text.reveal() if isinstance(text, SecretUrl) else text
        KNOWN.learn_url(self._text)

    def reveal(self) -> str:
        """The URL with its secrets: for whoever connects to it."""
        return self._text

    def __truediv__(self, path: str) -> SecretUrl:
        """The URL with that path behind its own."""
        return SecretUrl(f"{self._text.rstrip('/')}/{path}")

    def __str__(self) -> str:
        return without_password(self._text)

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and self._text == other._text

    def __lt__(self, other: SecretUrl) -> bool:
        return self._text < other._text

    def __hash__(self) -> int:
        return hash(self._text)


def without_password(url: str) -> str:
    """The URL with its password, and every parameter that may be a secret, replaced by `***`, for messages and logs.

    A password that was not percent-encoded may hold `/`, `?`, `#` or `@`, and then nobody can tell where the host
    begins. So everything between the first colon after the scheme and the last `@` is taken for the password, even
    where that hides a host and a path with an `@`.
    """
    found = _SCHEME.match(url)
    scheme, rest = (found.group(), url[found.end() :]) if found else ("", url)
    if scheme.lower() in _NO_URL_OF_OURS:
        return url
    before, at, after = rest.rpartition("@")
    if any(secret.end() == len(before) for secret in _PARAMETER.finditer(before) if not _is_shown(secret)):
        # The last `@` stands in a secret parameter, so that what follows it is secret too.
        after = re.sub(r"^[^&;#]*", HIDDEN, after)
    user, colon, _ = before.partition(":")
    if user and not colon and scheme.lower() in ("http://", "https://") and not re.search(r"[/?#]", user):
        user = HIDDEN  # a token that needs no password
    return scheme + _PARAMETER.sub(_shown, f"{user}{f':{HIDDEN}' if colon else ''}{at}{after}")


def _is_shown(parameter: re.Match[str]) -> bool:
    return parameter[2].lower() in _SHOWN_PARAMETERS


def _shown(parameter: re.Match[str]) -> str:
    return parameter[0] if _is_shown(parameter) else f"{parameter[1]}{parameter[2]}={HIDDEN}"


class KnownSecrets:
    """The secrets that a process has read, and texts without them. May be used by many threads."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._values: dict[str, None] = {}
        self._users: set[str] = set()
        self._renewed: dict[str, list[tuple[str, ...]]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        if environ is not None:
            self.learn_environment(environ)

    def learn(self, *secrets: str | None) -> None:
        """These are secrets, and so is their base64."""
        for secret in secrets:
            if secret and len(secret) >= SHORTEST and secret != HIDDEN:
                self._add(secret)
                self._add(_base64(secret))

    def renew(self, place: str, *secrets: str | None) -> None:
        """The secrets that a place gives now, in the place of those that it gave long ago.

        For what is renewed every hour: to know all of them for days would make each line of the log slower to write.
        Costs next to nothing while they are the same.
        """
        given = tuple(secret for secret in secrets if secret and len(secret) >= SHORTEST)
        if not given:
            return
        with self._lock:
            known = self._renewed.setdefault(place, [])
            if given not in known:
                known.append(given)
                del known[:-_LAST_KEPT]
                self._pattern = None

    def learn_url(self, text: str) -> None:
        """What that URL holds of secrets: its user part, also as an Authorization header has it, and its parameters."""
        found = _SCHEME.match(text)
        if found and found.group().lower() in _NO_URL_OF_OURS:
            return
        rest = text[found.end() :] if found else text
        before, at, _ = rest.rpartition("@")
        user, colon, password = before.partition(":")
        if colon and at:
            self._learn_password(user, password)
        elif at and found and found.group().lower() in ("http://", "https://"):
            self.learn(user, unquote(user), _base64(f"{unquote(user)}:"))
        for parameter in _PARAMETER.finditer(rest):
            if not _is_shown(parameter):
                self.learn(parameter[3], unquote(parameter[3]))

    def _learn_password(self, user: str, password: str) -> None:
        self.learn(password, unquote(password))
        if user and len(unquote(password)) >= SHORTEST:
            # With the user, too, which begins further left than the password, as its first part below does.
            self.learn(f"{user}:{password}", f"{unquote(user)}:{unquote(password)}")
            with self._lock:
                self._users.add(f"{unquote(user)}:")
        for one, other in ((user, password), (unquote(user), unquote(password))):
            self._add(_base64(f"{one}:{other}"))
        # One with such characters is taken apart by whoever parses the URL badly, and named in parts: its first part
        # with the user before it, as if they were a host and its port.
        for word in {password, unquote(password)}:
            if len(parts := re.split(r"[/?#@:]", word)) > 1:
                self.learn(*parts, f"{unquote(user)}:{parts[0]}" if user and parts[0] else None)

    def learn_environment(self, environ: Mapping[str, str]) -> None:
        """The secrets among these variables: the ones that are secrets, and the URLs among all."""
        self.learn(*(environ.get(name) for name in _SECRET_VARIABLES))
        for name, value in environ.items():
            self.learn_words(value.split(","))
            if "@" in value and (name.lower().endswith("_proxy") or name.startswith(("SNIFFER_", "AWS_ENDPOINT_URL"))):
                self.learn_url(value)  # such as `user:password@proxy:3128`

    def learn_words(self, words: Iterable[str]) -> None:
        """The secrets of the URLs in these words, such as those of a command line."""
        for word in words:
            if "://" in word and (found := _SCHEME.search(word)):
                self.learn_url(word[found.start() :].strip())

    def forms(self) -> list[str]:
        """Every secret as it is and as URLs have it, for another masker, longest first."""
        with self._lock:
            values = self._all()
        found = {form for value in values for form in (value, quote(value, safe=""), quote_plus(value))}
        return sorted(found, key=lambda form: (-len(form), form))

    def hide(self, text: str) -> str:
        """The text with every secret, the user parts of all its URLs, and what authorizes in headers, hidden."""
        if self._values or self._renewed:
            text = self._compiled().sub(self._hidden, text)
        if "://" in text:
            text = _URL_IN_TEXT.sub(lambda found: _shown_in_text(found[0]), text)
        return _HEADER.sub(lambda found: f"{found[1]}{found[2]}{HIDDEN}", text)

    def _hidden(self, found: re.Match[str]) -> str:
        """The user before a password is no secret, and tells whose it is."""
        return next((f"{user}{HIDDEN}" for user in self._users if found[0].startswith(user)), HIDDEN)

    def _add(self, value: str) -> None:
        with self._lock:
            if value not in self._values:
                self._values[value] = None
                self._pattern = None

    def _all(self) -> set[str]:
        renewed = {secret for kept in self._renewed.values() for given in kept for secret in given}
        return {*self._values, *renewed, *map(_base64, renewed)}

    def _compiled(self) -> re.Pattern[str]:
        with self._lock:
            if self._pattern is None:
                longest_first = sorted(self._all(), key=len, reverse=True)
                self._pattern = re.compile("|".join("".join(map(_encoded, value)) for value in longest_first))
            return self._pattern


def _shown_in_text(url: str) -> str:
    """A URL within a text, where an `@` in its path is no sign of a password."""
    try:
        has_user = "@" in urlsplit(url).netloc
    except ValueError:
        has_user = True
    if has_user or url.lower().startswith(_NO_URL_OF_OURS):
        return without_password(url)
    return _PARAMETER.sub(_shown, url)


def _encoded(character: str) -> str:
    """A pattern for one character: as it is, percent-encoded (twice, too), escaped as in JSON and Python, in HTML."""
    code, octets = ord(character), character.encode(errors="surrogatepass")
    forms = [_octets("%(?:25)?", octets)]
    if character.isalnum() and character.isascii():
        return f"(?:{'|'.join([*forms, re.escape(character)])})"
    units = character.encode("utf-16-be", errors="surrogatepass")
    forms.append("".join(rf"\\+u{_any_case(units[at : at + 2].hex())}" for at in range(0, len(units), 2)))
    forms += [_octets(r"\\+x", octets), rf"\\+U{_any_case(f'{code:08x}')}"]
    forms += [rf"\\+x{_any_case(f'{code:02x}')}"] if code < 0x100 else []
    forms += [f"&#0*{code};", f"&#[xX]0*{_any_case(f'{code:x}')};"]
    forms += [f"&{codepoint2name[code]};"] if code in codepoint2name else []
    if (short := _SHORT_ESCAPES.get(character)) is not None:
        forms.append(r"\\+" + re.escape(short))
    if character == " ":
        forms.append(r"\+")
    return f"(?:{'|'.join([*forms, re.escape(character)])})"


def _octets(mark: str, octets: bytes) -> str:
    return "".join(f"{mark}{_any_case(f'{octet:02x}')}" for octet in octets)


def _any_case(hexadecimal: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in hexadecimal)


def _base64(text: str) -> str:
    """Without its padding, which is escaped in some places."""
    return base64.b64encode(text.encode(errors="surrogateescape")).decode().rstrip("=")


KNOWN = KnownSecrets()
"""Those of this process."""


def hide(text: str) -> str:
    """The text without a secret of this process."""
    return KNOWN.hide(text)
