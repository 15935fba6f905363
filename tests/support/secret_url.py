"""URLs with a password in them, well-formed and as people get them wrong; for tests that nothing of it is shown.

Every password holds the CANARY, somewhere between characters that end a part of a URL, that parsers drop, or that mean
something else when they are decoded. A text that shows any piece of the password's middle shows the canary.
"""

import string
from urllib.parse import quote, unquote

from hypothesis import strategies as st

__all__ = ["CANARY", "SCHEMES", "leaks", "passwords", "urls"]

CANARY = "Zq7canary"
SCHEMES = ("amqp", "amqps", "postgresql", "postgres", "sqs", "sqlite", "http", "https", "smtp", "smtps", "nonsense")

_NASTY = (
    *string.printable, "\x00", "\x7f", "é", "⁖", "℀", "％", "\u2028", "\ud83d",
    "%2F", "%40", "%0A", "%25", "%zz", "%C3", "://", "@@", "&&", "a:b", " @ ", "?a=b&", "@127.0.0.1", ":5672/",
)  # fmt: skip
_pieces = st.lists(st.sampled_from(_NASTY), max_size=4).map("".join)
passwords = st.tuples(_pieces, _pieces).map(lambda ends: ends[0] + CANARY + ends[1])

_users = st.sampled_from(["", "guest", "me", "first.last", "me%40corp", "me@corp", "a b"])
_HOSTS = ("127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "[::1]:1", "127.0.0.1", "")
_paths = st.sampled_from(["", "/", "/db", "/db?sslmode=disable", "/%2Fv?heartbeat=10", "?endpoint=http://127.0.0.1:1"])
_ends = st.sampled_from(["", "\n", " ", "\r\n"])


@st.composite
def urls(draw: st.DrawFn, schemes: tuple[str, ...] = SCHEMES, hosts: tuple[str, ...] = _HOSTS) -> str:
    """A URL with one of these schemes and hosts, or what came out when somebody tried to write one."""
    scheme, password = draw(st.sampled_from(schemes)), draw(passwords)
    user, host, path = draw(_users), draw(st.sampled_from(hosts)), draw(_paths)
    if draw(st.booleans()):
        password = quote(password, safe="", errors="surrogatepass")
    forms = [
        *([f"{scheme}://{user}:{password}@{host}{path}"] * 4),
        f"{scheme}://{host}/db?password={password}&sslmode=disable",
        f"{scheme}://{host}/db?user=me&sslpassword={password}",
        f"{scheme}://{user}:{password}@{host},{user}:{password}@{host}/db",
        f"{scheme}://{user}:{password}@{host}/;{scheme}://{user}:{password}@{host}/",
        f"{user}:{password}@{host}{path}",
        f"//{user}:{password}@{host}{path}",
        f"{scheme}:/{user}:{password}@{host}{path}",
        f"{scheme}:{user}:{password}@{host}{path}",
        f" {scheme} ://{user}:{password}@{host}{path}",
        # without a host: only where the beginning of the password can't be a port, and the rest of it no host
        *([f"{scheme}://guest:x{password}"] if "@" not in password else []),
        *([f"{scheme}:guest:x{password}"] if "@" not in password and scheme != "sqlite" else []),
    ]
    return draw(st.sampled_from(forms)) + draw(_ends)


def leaks(text: str) -> bool:
    """Whether any of the canary can be read in the text."""
    lowered = {text.lower(), unquote(text).lower()}
    return any(CANARY[at : at + 5].lower() in one for one in lowered for at in range(len(CANARY) - 4))
