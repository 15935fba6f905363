"""A receiver of mail: enough of SMTP for smtplib, in a thread."""

import socket
import socketserver
import ssl
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self


class Smtp:
    """mails: those that were taken. refuses: an answer to RCPT TO instead of 250. cuts: drop the reply to DATA.

    certificate: of a server that speaks TLS from the start.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses: bytes | None = None
        self.cuts = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.smtp = self
        if certificate is not None:
            self._server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._server.tls.load_cert_chain(certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"smtp{'s' if self._server.tls else ''}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    smtp: Any
    tls: ssl.SSLContext | None = None
    allow_reuse_address = True

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address


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
