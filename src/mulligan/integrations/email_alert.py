"""A default task that sends e-mail about messages that could not be finished.

In a storm there are few: the first of a kind and minute at once, then at most one a minute with the count of the rest.
A mail can't be looked for, so one whose sending was cut may come twice; its Message-ID is the same.
"""

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.dial import dial
from mulligan.integrations.alert import Alert, alert_of, lines_of, title_of
from mulligan.integrations.alert_group import AlertGroup, Post, post_grouped
from mulligan.integrations.environment import missing, url_problems, variable
from mulligan.integrations.failure import Ambiguous, Fault, NotSent, Refused
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext

__all__ = ["EmailAlertTask"]

INTERVAL_S = 60.0
CALL_S = 15.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SCHEMES = ("smtps", "smtp")


class EmailAlertTask(Task):
    """Sends alerts through ALERT_SMTP_URL, from ALERT_EMAIL_FROM to ALERT_EMAIL_TO (commas between several).

    ALERT_SMTP_URL: smtps://user:password@host (TLS from the start), or smtp://... (STARTTLS, but for this host).
    shows_body: with the beginning of the body.
    """

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    shows_body = False
    fold_file = "var/alerts.db"
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        self._url = variable("ALERT_SMTP_URL")
        self._sender = variable("ALERT_EMAIL_FROM")
        self._receivers = [one.strip() for one in variable("ALERT_EMAIL_TO").split(",") if one.strip()]
        self._fold = AlertGroup(Path(self.fold_file).absolute(), type(self).__name__, INTERVAL_S)

    def subject(self, alert: Alert, turn: Post) -> str:
        """The subject: one line."""
        return title_of(alert, turn.count - turn.posted)

    def text(self, alert: Alert, turn: Post) -> str:
        """The text of the mail."""
        text = [f"{turn.posted} of this kind and minute were sent before."] if turn.posted else []
        return "\n\n".join([*lines_of(alert, turn.uids, turn.count - turn.posted), *text]) + "\n"

    def check(self) -> Sequence[str]:
        """Missing variables, addresses that are none; see `Task.check`."""
        problems = missing(
            ALERT_SMTP_URL=self._url, ALERT_EMAIL_FROM=self._sender, ALERT_EMAIL_TO=", ".join(self._receivers)
        )
        if self._url:
            problems += url_problems("ALERT_SMTP_URL", self._url, _SCHEMES)
        return problems + [
            f"{one!r} is not an e-mail address: name@host."
            for one in [self._sender, *self._receivers]
            if one and ("@" not in one or any(char.isspace() for char in one))
        ]

    async def probe(self) -> Sequence[str]:
        """Server, TLS, user; nothing is sent. See `Task.probe`."""
        try:
            url = urlsplit(self._url)
            sock = await _reach(url)
            await asyncio.to_thread(lambda: _begin(url, sock).quit())
        except Exception as exc:  # noqa: BLE001 - smtplib, ssl and sockets raise many kinds
            return [f"e-mail: {_fault(exc).reason}. Is ALERT_SMTP_URL right?"]
        return []

    async def run(self, message: Message, context: TaskContext) -> None:
        """Send an e-mail about a message that could not be finished."""
        alert = alert_of(message, context, self.now(), shows_body=self.shows_body)
        await post_grouped(
            self._fold, context, alert.group, lambda turn: self._say(alert, turn), service="e-mail", now=self.now
        )

    async def _say(self, alert: Alert, turn: Post) -> str:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, ", ".join(self._receivers)
        mail["Subject"] = self.subject(alert, turn)
        mail["Date"] = formatdate(self.now())
        mail["Message-ID"] = f"<{turn.key}.{turn.posted}@mulligan>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(self.text(alert, turn))
        try:
            url = urlsplit(self._url)
            sock = await _reach(url)
            await asyncio.to_thread(self._send, url, sock, mail)
        except Exception as exc:  # noqa: BLE001 - smtplib, ssl and sockets raise many kinds
            raise _fault(exc) from None
        return str(mail["Message-ID"])

    def _send(self, url: SplitResult, sock: socket.socket, mail: EmailMessage) -> None:
        server = _begin(url, sock)
        try:
            refused = server.send_message(mail)
        finally:
            server.close()
        if len(refused) == len(self._receivers):
            raise smtplib.SMTPRecipientsRefused(refused)


class _Plain(smtplib.SMTP):
    """The library's client on a connection that is there: its own one gives each address of a host the whole limit."""

    def __init__(self, sock: socket.socket, host: str, port: int) -> None:
        self._given = sock
        super().__init__(host, port, timeout=CALL_S)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._given


class _Tls(smtplib.SMTP_SSL, _Plain):
    """The same with TLS from the start: the library asks its parent, which is `_Plain`, for the connection below."""

    def __init__(self, sock: socket.socket, host: str, port: int, context: ssl.SSLContext) -> None:
        self._given = sock
        smtplib.SMTP_SSL.__init__(self, host, port, timeout=CALL_S, context=context)


def _port(url: SplitResult) -> int:
    return url.port or (465 if url.scheme == "smtps" else 587)


async def _reach(url: SplitResult) -> socket.socket:
    """A connection to the server, for a thread. Raises NotSent, and OSError."""
    host, port = url.hostname or "", _port(url)
    try:
        async with asyncio.timeout(CALL_S):
            sock = await dial(host, port)
    except TimeoutError:
        raise NotSent(f"no connection to {host}:{port} within {CALL_S:g} s") from None
    sock.settimeout(CALL_S)
    return sock


def _begin(url: SplitResult, sock: socket.socket) -> smtplib.SMTP:
    host, port = url.hostname or "", _port(url)
    try:
        server: smtplib.SMTP
        if url.scheme == "smtps":
            server = _Tls(sock, host, port, ssl.create_default_context())
        else:
            server = _Plain(sock, host, port)
    except BaseException:
        sock.close()
        raise
    try:
        server.ehlo_or_helo_if_needed()
        if url.scheme == "smtp" and host not in _LOOPBACK:
            server.starttls(context=ssl.create_default_context())
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _fault(exc: Exception) -> Fault:
    text = f"{type(exc).__name__}: {exc}"
    match exc:
        case Fault():
            return exc
        case smtplib.SMTPAuthenticationError():
            return Refused("the server does not take the user and password of ALERT_SMTP_URL")
        case smtplib.SMTPNotSupportedError():
            return Refused(f"{text}: the server can't do what is needed; TLS is demanded")
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in exc.recipients.values()]
            return Refused(text) if codes and all(code >= 500 for code in codes) else NotSent(text)
        case smtplib.SMTPResponseException():
            return Refused(text) if exc.smtp_code >= 500 else NotSent(text)
        case smtplib.SMTPServerDisconnected() | TimeoutError():
            return Ambiguous(text)
        case OSError():
            return NotSent(text)
        case _:
            return Refused(text)
