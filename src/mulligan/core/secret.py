"""Taking passwords out of texts that a person or a log will see. The only place where that is done.

`redacted_url` is for a text that is one URL as a whole, however malformed: it shows nothing that may be a password, and
host, port and database of a well-formed one. `redacted` is for texts in which URLs may stand: where one of them ends is
a guess there. `Redactor` also knows the secrets of this process by heart: a client that quotes a piece of one says it
without the URL around it. All of them rather hide too much than too little.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, unquote_plus

__all__ = ["HIDDEN", "Redactor", "redacted", "redacted_url"]

HIDDEN = "***"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_AUTHORITY = re.compile(r"[^/?#]*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]*\]|[^:@\[\]]*)(?::(?:[0-9]{0,5}|port|PORT))?")
# what a URL in a text may begin with if it has no user: a host, and after it the end of the URL or of the authority; a
# colon, too, where a sentence goes on after it and has no @ that could end a password; and a parameter of the URL in
# whose query it stands
_PLAIN = re.compile(
    r"(?:\[[0-9A-Fa-f:.]*\]|[\w.{}<>-]*)(?::(?:[0-9]{1,5}|port|PORT)\.?)?"
    r"(?![\w.{}<>@%+!$~*=|^-]|&(?!(?:account|endpoint|insecure|profile)=)|:(?!\s[^@]*$))",
    re.ASCII,
)
_DONE = re.compile(r"(?:[A-Za-z0-9_.+-]|%40)*:?\*{3}@")  # what `redacted_url` made of one
_WORD = re.compile(r"\S*")
# a name that can hold no password: no colon, neither as it is nor as %3A
_NAME = re.compile(r"(?:[A-Za-z0-9_.+-]|%40)*")

# there a user alone is a person or a program, whose password is elsewhere; with http and mail it may be a token
_NAMED = frozenset({"amqp", "amqps", "postgresql", "postgres"})
# there the name before a password may be the same token once more
_NAMELESS = frozenset({"http", "https", "smtp", "smtps"})
# there an @ in the query is a value's, if nothing before it can be a password
_QUERIED = frozenset({"postgresql", "postgres", "sqs"})

_SECRET_NAME = re.compile(r"pass|pwd|secret|token|cred|auth|sig|key$")
_HARMLESS = frozenset({
    "application_name", "cafile", "certfile", "database", "dbname", "endpoint", "heartbeat", "host", "keyfile", "port",
    "profile", "region", "search_path", "sslcert", "sslkey", "sslmode", "sslrootcert", "target_session_attrs", "user",
})  # fmt: skip
_PARAMETER = re.compile(
    r"(?i)([?&;][a-z_.-]*(?:password|passwd|pwd|secret|token|credential|signature|key))=(?!\*{3}(?:\W|$))[^\s&]+"
)
# addresses that are a secret themselves
_WEBHOOK = re.compile(
    r"(?i)((?:hooks\.slack\.com/[a-z]+|discord(?:app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com/\w+"
    r"|chat\.googleapis\.com/v1/spaces|api\.telegram\.org)/)[^\s'\"]+"
)

# what our own texts write in their place
_PLACEHOLDERS = frozenset({"USER:PASSWORD", "user:password"})

_KNOWN_MIN = 6
"""Characters of a secret that is looked for literally: a shorter one would be found in words that have nothing to do
with it."""
# where a parser ends a piece, and what is written as an escape where the piece is quoted
_BREAKS = (re.compile(r"(?:[^!-~]|[/?#@:])+"), re.compile(r"(?:[^!-~]|[/?#@:;,&='\"\\%<>()\[\]{}])+"))


def redacted_url(url: str) -> str:
    """A URL without its password: also where #, / or ? in it end the authority early, where there is whitespace or
    another @ in it, where the scheme or the host is missing, and for secrets in the query. A fragment is hidden.
    """
    found = _SCHEME.match(url.strip())
    if found is None:
        return _redacted_schemeless(url)
    scheme, rest = found[1], url.strip()[found.end() :]
    before, at, after = rest.rpartition("@")
    if at and not _has_at_in_query_only(scheme, rest):
        if _secret_in(before.partition("?")[2]):  # then the @ may be a part of it
            return f"{scheme}://{HIDDEN}"
        return f"{scheme}://{_user_info(scheme, before)}@{_after_user_info(after)}"
    return f"{scheme}://{_after_user_info(rest)}"


def redacted(text: str) -> str:
    """`text` with `***` in the place of every password of a URL and of every secret in its query."""
    found = list(_SCHEME.finditer(text)) if "://" in text else []
    if not found:
        return text
    pieces = [text[: found[0].start()]]
    for one, following in zip(found, [*found[1:], None], strict=True):
        rest = text[one.end() : following.start() if following else len(text)]
        pieces.append(one[0] + _redacted_rest(one[1].lower(), rest))
    return "".join(pieces)


class Redactor:
    """`redacted` for a process that has secrets: pieces of the passwords of its URLs are hidden wherever they stand.

    Not looked for: what is shorter than six characters, and what the URL shows elsewhere, such as its user's name.
    """

    def __init__(self, urls: Iterable[str] = ()) -> None:
        forms = {form for url in urls for form in _forms(url)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """The text as it may be shown."""
        return redacted(text if self._known is None else self._known.sub(HIDDEN, text))


# -- a URL as a whole -------------------------------------------------------------------------------------------------


def _redacted_schemeless(url: str) -> str:
    _, at, after = url.rpartition("@")
    if at:
        return f"{HIDDEN}@{_after_user_info(after)}"
    if url.strip().lower().startswith(("sqlite:", "file:")):
        return _redacted_query(url)
    head, colon, _ = url.partition(":")
    return f"{head}:{HIDDEN}" if colon else _redacted_query(url)


def _has_at_in_query_only(scheme: str, rest: str) -> bool:
    head = rest.partition("?")[0]
    return scheme.lower() in _QUERIED and "?" in rest and not any(char in head for char in ":@#")


def _user_info(scheme: str, text: str) -> str:
    if text in _PLACEHOLDERS:
        return text
    name, colon, _ = text.partition(":")
    if not text or not _NAME.fullmatch(name):
        return HIDDEN if text else ""
    if colon:
        return HIDDEN if scheme.lower() in _NAMELESS else f"{name}:{HIDDEN}"
    return name if scheme.lower() in _NAMED else HIDDEN


def _after_user_info(text: str) -> str:
    """Hosts, path and query. A colon without a port after it may begin a password: nothing behind it is shown."""
    found = _AUTHORITY.match(text)
    hosts, rest = (found[0], text[found.end() :]) if found else ("", text)
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        return f"{hosts.partition(':')[0]}:{HIDDEN}" if ":" in hosts else HIDDEN
    return hosts + _redacted_query(rest)


def _redacted_query(text: str) -> str:
    text, hash_, _ = text.partition("#")
    head, mark, query = text.partition("?")
    shown = "&".join(_redacted_parameters(query)) if mark else ""
    return head + mark + shown + (f"#{HIDDEN}" if hash_ else "")


def _redacted_parameters(query: str) -> Iterator[str]:
    is_after_secret = False  # an & in a secret that is not written %26 ends it early
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        if _is_secret(name):
            is_after_secret = True
            yield f"{name}={HIDDEN}" if equals else HIDDEN
        elif not equals or (is_after_secret and name not in _HARMLESS):
            yield HIDDEN if part else ""
        else:
            yield part


def _is_secret(name: str) -> bool:
    letters = re.sub("[^a-z]", "", unquote_plus(name).lower())
    return letters not in {"sslkey", "passfile"} and _SECRET_NAME.search(letters) is not None


def _secret_in(query: str) -> bool:
    return any("=" in part and _is_secret(part.partition("=")[0]) for part in query.split("&"))


# -- URLs in a text ---------------------------------------------------------------------------------------------------


def _redacted_rest(scheme: str, rest: str) -> str:
    """What follows `scheme://` in a text, as far as to the next scheme."""
    end = _end_of_user_info(rest)
    shown = rest
    if end is not None:
        shown = f"{_user_info(scheme, rest[:end])}@{rest[end + 1 :]}"
    elif not _PLAIN.match(rest):
        shown = _without_password_at_end(rest)
    return _PARAMETER.sub(rf"\1={HIDDEN}", _WEBHOOK.sub(rf"\1{HIDDEN}", shown))


def _end_of_user_info(rest: str) -> int | None:
    """The place of the @ after a user's name and password, which may hold any character."""
    found = _WORD.match(rest)
    word = found[0] if found else ""
    if done := _DONE.match(word):
        return done.end() - 1
    if "@" not in word and _PLAIN.match(word):
        return None
    line, _, more = rest.partition("\n")
    if "@" in line:
        return line.rindex("@")
    following = more.partition("\n")[0]  # a password may have a line break
    return len(line) + 1 + following.rindex("@") if ":" in line and "@" in following else None


def _without_password_at_end(rest: str) -> str:
    """For `user:password` without a host: what follows the colon, up to a blank."""
    found = _WORD.match(rest)
    word = found[0] if found else ""
    name, colon, _ = word.partition(":")
    return f"{name}:{HIDDEN}{rest[len(word) :]}" if colon else rest


# -- what is known ----------------------------------------------------------------------------------------------------


def _forms(url: str) -> Iterator[str]:
    """Every way in which a text may hold the secrets of a URL: as written, decoded, escaped, or a piece of it."""
    shown = redacted_url(url)
    for secret in _secrets(url):
        for form in (secret, secret.strip(), re.sub("[\t\r\n]", "", secret)):
            for one in (
                form,
                unquote(form),
                unquote_plus(form),
                quote(unquote(form), safe="", errors="surrogatepass"),
                repr(form)[1:-1],
            ):
                for piece in (one, *(part for breaks in _BREAKS for part in breaks.split(one))):
                    if len(piece) >= _KNOWN_MIN and piece not in shown:
                        yield piece


def _secrets(url: str) -> Iterator[str]:
    found = _SCHEME.match(url.strip())
    rest = url.strip()[found.end() :] if found else url
    if "@" in rest and not (found and _has_at_in_query_only(found[1], rest)):
        user, colon, password = rest.rpartition("@")[0].partition(":")
        yield password if colon else "" if _NAME.fullmatch(user) else user
    for part in rest.partition("?")[2].split("&"):
        name, _, text = part.partition("=")
        if _is_secret(name):
            yield text
