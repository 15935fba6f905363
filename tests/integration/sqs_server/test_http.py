import contextlib
import json
import socket

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.auth.key import Key


@pytest.fixture
def open_server(start):
    """A server that takes unsigned requests, so that a test can write bytes by hand."""
    return start(verifies=False)


class Wire:
    """A plain socket."""

    def __init__(self, running):
        self.socket = socket.create_connection(("127.0.0.1", running.server.port), timeout=10)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        """Status, headers and body of the next response."""
        line = self.file.readline().decode()
        headers = {}
        while header := self.file.readline().strip():
            name, _, text = header.decode().partition(":")
            headers[name.lower()] = text.strip()
        body = self.file.read(int(headers.get("content-length", 0)))
        return int(line.split()[1]), headers, body

    def close(self):
        self.file.close()
        self.socket.close()

    def rest(self):
        return self.file.read()


@pytest.fixture
def connect():
    """Opens plain connections and closes them."""
    opened = []

    def connect_one(running):
        opened.append(Wire(running))
        return opened[-1]

    yield connect_one
    for wire in opened:
        wire.close()


@pytest.fixture
def wire(open_server, connect):
    return connect(open_server)


def request(action, body, *, more=b"", version=b"1.1"):
    data = json.dumps(body).encode() if not isinstance(body, bytes) else body
    return (
        b"POST / HTTP/%s\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.%s\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n%s\r\n"
        % (version, action.encode(), len(data), more)
    ) + data


def test_requests_sent_ahead_are_answered_in_order(wire):
    create = b"".join(request("CreateQueue", {"QueueName": f"q{number}"}) for number in range(100))

    wire.send(create)

    urls = [json.loads(wire.answer()[2])["QueueUrl"] for _ in range(100)]
    assert urls == [f"http://localhost/000000000000/q{number}" for number in range(100)]


def test_request_behind_a_long_poll_waits_for_its_answer(wire):
    wire.send(request("CreateQueue", {"QueueName": "q"}))
    url = json.loads(wire.answer()[2])["QueueUrl"]

    wire.send(request("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 1}) + request("ListQueues", {}))

    assert wire.answer()[2] == b"{}"
    assert json.loads(wire.answer()[2]) == {"QueueUrls": [url]}


def test_request_in_single_bytes_is_one_request(wire):
    for byte in request("ListQueues", {}):
        wire.send(bytes([byte]))

    assert wire.answer()[0] == 200


def test_chunked_body_is_one_body(wire):
    data = b'{"QueueName": "q"}'
    head = request("CreateQueue", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    wire.send(head + b"5\r\n" + data[:5] + b"\r\n%x\r\n" % len(data[5:]) + data[5:] + b"\r\n0\r\n\r\n")

    assert wire.answer()[0] == 200


def test_connection_stays_open_unless_the_client_says_otherwise(wire):
    wire.send(request("ListQueues", {}))
    assert "connection" not in wire.answer()[1]

    wire.send(request("ListQueues", {}, more=b"Connection: close\r\n"))

    assert wire.answer()[1]["connection"] == "close"
    assert wire.rest() == b""


def test_http_1_0_is_answered_and_closed(wire):
    wire.send(request("ListQueues", {}, version=b"1.0"))

    assert wire.answer()[0] == 200
    assert wire.rest() == b""


def test_client_that_asks_first_is_told_to_go_on(wire):
    data = request("ListQueues", {}, more=b"Expect: 100-continue\r\n")
    head, body = data[:-2], data[-2:]

    wire.send(head)
    assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    wire.file.readline()
    wire.send(body)

    assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(101)) + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(wire, data, status):
    wire.send(data)

    assert wire.answer()[0] == status


def test_client_that_sends_a_body_that_is_too_large_before_it_reads_gets_the_answer(wire):
    wire.send(request("SendMessage", b"x" * 9_000_000))

    status, headers, body = wire.answer()

    assert (status, headers["connection"], body) == (413, "close", b"The body is larger than 8388608 bytes.\n")
    assert wire.rest() == b""


def test_client_that_sends_on_after_a_refusal_is_ended(start, connect, monkeypatch):
    monkeypatch.setattr("mulligan.servers.sqs.wire.http._LINGER_MAX_BYTES", 1_000_000)
    wire = connect(start(verifies=False))
    wire.send(b"nonsense\r\n\r\n")
    assert wire.answer()[0] == 400

    with pytest.raises(ConnectionError):
        wire.send(b"x" * 50_000_000)


@pytest.mark.parametrize("header", [b"Authorization: \xff\xfe", b"Host: \xff", b"X-Amz-Target: AmazonSQS.\xff"])
def test_header_of_any_bytes_is_answered(start, connect, header):
    for verifies in (True, False):
        wire = connect(start(verifies=verifies))

        wire.send(request("CreateQueue", {"QueueName": "q"}, more=header + b"\r\n"))

        status, _, body = wire.answer()
        assert status in (200, 400, 403, 404)
        assert json.loads(body)


def test_body_that_grows_beyond_its_bound_is_refused(wire):
    head = request("ListQueues", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    wire.send(head)
    with contextlib.suppress(OSError):  # it has heard enough before the end
        for _ in range(10):
            wire.send(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")

    with contextlib.suppress(OSError):  # the answer may be overtaken by the reset of the connection
        assert wire.answer()[0] == 413


@pytest.mark.parametrize(
    ("action", "body", "kind"),
    [
        ("ListQueues", b"{", "com.amazon.coral.service#SerializationException"),
        ("ListQueues", b"[]", "com.amazon.coral.service#SerializationException"),
        ("ListQueues", b'{"MaxResults": "1"}', "com.amazon.coral.service#SerializationException"),
        ("ListQueues", b'{"QueueNamePrefix": "\xff"}', "com.amazon.coral.service#SerializationException"),
        ("ListQueues", b"[" * 100_000, "com.amazon.coral.service#SerializationException"),
        ("SendMessage", b'{"MessageBody": "\\ud800"}', "com.amazonaws.sqs#InvalidMessageContents"),
        ("Fly", b"{}", "com.amazon.coral.service#UnknownOperationException"),
    ],
)
def test_wrong_json_is_told_and_the_connection_goes_on(wire, action, body, kind):
    wire.send(request(action, body))
    status, headers, told = wire.answer()

    assert (status in {400, 404}, json.loads(told)["__type"]) == (True, kind)
    assert "x-amzn-query-error" not in headers
    wire.send(request("ListQueues", {}))
    assert wire.answer()[0] == 200


def test_old_code_is_told_to_clients_that_ask_for_it(wire):
    wire.send(request("GetQueueUrl", {"QueueName": "q"}, more=b"x-amzn-query-mode: true\r\n"))

    assert wire.answer()[1]["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"


def test_other_content_type_is_refused(wire):
    wire.send(request("ListQueues", {}).replace(b"x-amz-json-1.0", b"json"))

    assert "Content-Type" in json.loads(wire.answer()[2])["message"]


def test_old_query_protocol_is_told_what_to_do(wire):
    body = b"Action=ListQueues&Version=2012-11-05"
    wire.send(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )

    status, headers, told = wire.answer()

    assert (status, headers["content-type"]) == (400, "text/xml")
    assert b"speaks AWS JSON 1.0 only" in told


def test_browser_is_told_what_this_is(wire):
    wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"AWS_ENDPOINT_URL_SQS" in wire.answer()[2]

    wire.send(b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert wire.answer()[0] == 405


def test_counters_are_told_and_control_is_off_unless_asked_for(wire):
    wire.send(request("ListQueues", {}) + b"GET /_mulligan/counters HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wire.answer()
    assert json.loads(wire.answer()[2])["requests"] == {"ListQueues": {"ok": 1}}

    wire.send(b"PUT /_mulligan/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    assert wire.answer()[0] == 403
    wire.send(b"GET /_mulligan/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert wire.answer()[0] == 404


def test_faults_are_played_over_control(start, connect):
    wire = connect(start(verifies=False, has_control=True))
    script = b'{"rules": [{"fault": {"kind": "throttle"}, "times": 1}]}'
    wire.send(
        b"PUT /_mulligan/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(script), script)
    )
    assert wire.answer()[0] == 200

    wire.send(request("ListQueues", {}) * 2)

    assert json.loads(wire.answer()[2])["__type"] == "com.amazonaws.sqs#RequestThrottled"
    assert wire.answer()[0] == 200
    wire.send(b"PUT /_mulligan/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n{")
    assert wire.answer()[0] == 400
    wire.send(b"DELETE /_mulligan/counters HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert json.loads(wire.answer()[2])["total"] == 0


def test_client_that_leaves_a_long_poll_takes_no_message_with_it(open_server, connect):
    leaving, staying = connect(open_server), connect(open_server)
    staying.send(request("CreateQueue", {"QueueName": "q"}))
    url = json.loads(staying.answer()[2])["QueueUrl"]
    poll = request("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 20})
    leaving.send(poll)
    leaving.close()

    staying.send(poll.replace(b'"WaitTimeSeconds": 20', b'"WaitTimeSeconds": 1 '))
    assert staying.answer()[2] == b"{}"
    staying.send(request("SendMessage", {"QueueUrl": url, "MessageBody": "x"}) + poll)
    staying.answer()

    assert json.loads(staying.answer()[2])["Messages"][0]["Body"] == "x"


def test_close_answers_long_polls_with_nothing(start, connect):
    one = start(verifies=False)
    wire = connect(one)
    wire.send(request("CreateQueue", {"QueueName": "q"}))
    url = json.loads(wire.answer()[2])["QueueUrl"]
    wire.send(request("ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 20}) + request("ListQueues", {}))
    while "ReceiveMessage" not in repr(one.server._polls._waiters) and not one.server._polls._waiters:
        pass

    one.run(one.server.close())

    assert wire.answer()[2] == b"{}"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"host": "0.0.0.0"}, "--allow-remote"),
        ({"host": "0.0.0.0", "allows_remote": True}, "default key"),
        ({"host": "0.0.0.0", "allows_remote": True, "keys": [Key("a", "b")], "verifies": False}, "--no-verify"),
        ({"host": "example.com"}, "--allow-remote"),
        ({"host": "127.0.0.1", "port": 1}, "can't listen on 127.0.0.1:1"),
    ],
)
def test_address_that_should_not_or_can_not_be_used_is_refused(start, options, part):
    import os

    if options.get("port") == 1 and os.geteuid() == 0:
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            pytest.raises(
                ConfigurationError, match=r"another program does\. Is another `make run` .*--with-sqs-server 9325"
            ),
        ):
            start(port=taken.getsockname()[1])
        return
    with pytest.raises(ConfigurationError) as error:
        start(**options)

    assert part in str(error.value)


def test_own_keys_may_listen_for_others(start):
    assert start(host="0.0.0.0", allows_remote=True, keys=[Key("a", "b")]).server.port


def test_half_sent_request_is_ended_in_time(start, connect):
    wire = connect(start(verifies=False, request_s=0.1))
    wire.send(request("ListQueues", {})[:-1])

    assert wire.answer()[0] == 408
    assert wire.rest() == b""


@pytest.mark.parametrize("first", [b"", request("ListQueues", {})])
def test_connection_without_a_request_is_ended_in_time(start, first, connect):
    wire = connect(start(verifies=False, request_s=0.1, idle_s=0.1))
    wire.send(first)
    if first:
        wire.answer()

    assert wire.rest() == b""


def test_client_that_never_reads_is_cut_off_and_the_others_go_on(start, connect):
    one = start(verifies=False, request_s=0.1, idle_s=0.1)
    greedy, other = connect(one), connect(one)
    other.send(request("CreateQueue", {"QueueName": "q"}))
    url = json.loads(other.answer()[2])["QueueUrl"]
    other.send(request("SendMessage", {"QueueUrl": url, "MessageBody": "x" * 1_000_000}))
    other.answer()
    receive = request("ReceiveMessage", {"QueueUrl": url, "VisibilityTimeout": 0})

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        greedy.send(receive * 100_000)

    other = connect(one)
    other.send(request("ListQueues", {}))
    assert other.answer()[0] == 200


def held_bytes(one):
    return one.server._connections.held_bytes


def test_bodies_of_all_connections_together_are_bounded_and_small_requests_go_on(start, connect):
    one = start(verifies=False)
    padded = request("ListQueues", b'{"Padding": "%b"}' % (b"x" * 7_000_000))
    halves = [connect(one) for _ in range(9)]
    for number, half in enumerate(halves, 1):
        half.send(padded[:-1])
        while held_bytes(one) < number * 7_000_000:
            pass

    tenth = connect(one)
    with contextlib.suppress(OSError):  # it has heard enough before the end
        tenth.send(padded[:-1])
    refused = tenth.answer()
    small = connect(one)
    small.send(request("ListQueues", {}))

    assert refused[0] == 503
    assert "try again" in refused[2].decode()
    assert small.answer()[0] == 200
    halves[0].send(padded[-1:])
    assert halves[0].answer()[0] == 200
    for half in halves:
        half.close()
    tenth.close()
    while held_bytes(one):
        pass
    small.send(padded)
    assert small.answer()[0] == 200
    assert held_bytes(one) == 0


def test_answers_that_nobody_reads_are_bounded(start):
    one = start(verifies=False)
    first = Wire(one)
    first.send(request("CreateQueue", {"QueueName": "q"}))
    url = json.loads(first.answer()[2])["QueueUrl"]
    for _ in range(10):
        first.send(request("SendMessage", {"QueueUrl": url, "MessageBody": "x" * 1_000_000}))
        assert first.answer()[0] == 200
    poll = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
    readers = []
    for _ in range(20):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(30)
        reader.connect(("127.0.0.1", one.server.port))
        reader.sendall(request("ReceiveMessage", poll))
        readers.append(reader)
    while one.server.counters.snapshot()["messages"]["received"] < 200:
        pass

    first.send(request("ListQueues", {}))
    assert first.answer()[0] == 200
    first.close()
    unread = sum(connection.unread_bytes for connection in one.server._connections.slow)
    assert 0 < unread <= 64 * 1024 * 1024
    assert 0 < len(one.server._connections.slow) < 20
    for reader in readers:
        reader.close()
