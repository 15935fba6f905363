"""A receiver of mail: enough of SMTP for smtplib, in a thread."""

import socketserver
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self


class Smtp:
    """mails: those that were taken. refuses: an answer to RCPT TO instead of 250. cuts: drop the reply to DATA."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses: bytes | None = None
        self.cuts = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.smtp = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    smtp: Any
    allow_reuse_address = True


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        smtp = self.server.smtp
        self._say(b"220 stand-in")
        while line := self.rfile.readline():
            verb = line.split(b" ", 1)[0].strip().upper()
            if verb == b"DATA":
                self._say(b"354 go on")
                raw = bytearray()
                while (part := self.rfile.readline()) != b".\r\n":
                    raw += part.removeprefix(b".")
                smtp.mails.append(message_from_bytes(bytes(raw), policy=policy.default))
                if smtp.cuts:
                    smtp.cuts -= 1
                    return
                self._say(b"250 taken")
            elif verb == b"RCPT" and smtp.refuses:
                self._say(smtp.refuses)
            elif verb == b"QUIT":
                self._say(b"221 bye")
                return
            else:
                self._say(b"250 ok")

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")
