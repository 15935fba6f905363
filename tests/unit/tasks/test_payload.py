import pytest

from mulligan.core.message import Message, Uid
from mulligan.tasks.exceptions import PayloadError
from mulligan.tasks.payload import JSON_MAX_BYTES

ORDER = """
from __future__ import annotations
from pydantic import BaseModel
class Order(BaseModel):
    id: int
    price: float
    secret: int = 0
class One(Task):
    def run(self, data: Order): return data
"""


def message_of(body: bytes) -> Message:
    return Message(Uid("018bcfe56800-00000000000000000000"), body, {}, 1_700_000_000.0)


def one(app, parameters: str, before: str = ""):
    return app.task(f"import typing\n{before}\nclass One(Task):\n    def run(self, {parameters}): return data")


def order(app):
    app.folder.joinpath("tasks", "one.py").write_text(
        ORDER.lstrip().replace("from pyd", "from mulligan import Task\nfrom pyd")
    )
    return app.load().tasks["One"]


def refusal(task, body: bytes) -> str:
    with pytest.raises(PayloadError) as caught:
        task.call(message_of(body), None)
    return str(caught.value)


@pytest.mark.parametrize("annotation", ["", ": str", ": typing.Any", ": object", ": 'str'"])
def test_call_gives_text_when_the_annotation_is_none_or_str(app, annotation):
    assert one(app, f"data{annotation}").call(message_of("grüß".encode()), None) == "grüß"


def test_call_gives_the_body_when_the_annotation_is_bytes(app):
    assert one(app, "data: bytes").call(message_of(b"\xff"), None) == b"\xff"


def test_call_gives_the_message_when_the_annotation_is_message(app):
    message = message_of(b"\xff")

    assert one(app, "data: Message").call(message, None) is message


@pytest.mark.parametrize(
    ("annotation", "body", "payload"),
    [
        ("int", b"3", 3),
        ("bool", b"true", True),
        ("dict", b'{"a": 1}', {"a": 1}),
        ("list[int]", b"[1, 2]", [1, 2]),
        ("int | None", b"null", None),
        ("float", b"2.5", 2.5),
        ("dict[str, typing.Any]", '{"ä": "NaN Infinity"}'.encode(), {"ä": "NaN Infinity"}),
    ],
)
def test_call_gives_what_pydantic_reads_when_the_annotation_is_another_type(app, annotation, body, payload):
    assert one(app, f"data: {annotation}").call(message_of(body), None) == payload


def test_call_resolves_annotations_that_are_strings(app):
    payload = order(app).call(message_of(b'{"id": 1, "price": 2.5}'), None)

    assert (payload.id, payload.price) == (1, 2.5)


def test_call_refuses_a_body_that_is_not_utf8_text(app):
    assert refusal(one(app, "data"), b"ab\xff").startswith("the body is not UTF-8 text: byte 2 of 3 can't be decoded")


def test_call_lets_through_a_decode_error_that_is_the_users(app):
    task = app.task("class One(Task):\n    def run(self, data): return b'\\xff'.decode()")

    with pytest.raises(UnicodeDecodeError):
        task.call(message_of(b""), None)


def test_call_names_the_fields_and_not_their_values_when_they_are_wrong(app):
    told = refusal(order(app), b'{"id": "no number", "secret": "hunter2"}')

    assert told == (
        "the body is not a valid Order: id: Input should be a valid integer, unable to parse string as an integer; "
        "price: Field required; secret: Input should be a valid integer, unable to parse string as an integer"
    )


def test_call_stays_short_when_very_many_values_are_wrong(app):
    task = one(app, "data: dict[str, list[int]]")

    some = refusal(task, b'{"' + b"k" * 5000 + b'": [' + b'"x",' * 20 + b'"x"]}')
    many = refusal(task, b'{"k": [' + b'"x",' * 100_000 + b'"x"]}')

    assert some.endswith("and 16 more")
    assert len(some) < 2000
    assert many == "the body is not a valid dict: 100001 of its values are wrong"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b'{"id": 1, "price": NaN}',
        b'{"id": 1, "price": -Infinity}',
        b'{"id": ' + b"1" * 100_000 + b', "price": 1}',
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"id": 1, "price": ' + b"[" * 150 + b"]" * 150 + b"}",
        b'{"id": 1, "price": 1, "x": "\\ud800"}',
        b'{"id": 1, "price": "' + b"x" * 1_000_000 + b'"}',
    ],
)
def test_call_refuses_the_body_when_it_is_hostile(app, body):
    told = refusal(order(app), body)

    assert told.startswith("the body is no")
    assert len(told) < 1000


def test_call_refuses_json_beyond_its_size_limit_unread(app):
    told = refusal(one(app, "data: list"), b"[" * (JSON_MAX_BYTES + 1))

    assert told == "the body has 16777217 bytes, JSON is read up to 16777216"


def test_call_hands_on_the_context_when_run_takes_it(app):
    for second in ("context", "ctx", "context=None", "ctx: TaskContext = None", "ctx: 'TaskContext' = None"):
        task = app.task(
            f"class One(Task):\n    def run(self, data, {second}): return {second.split(':')[0].split('=')[0]}"
        )
        assert task.wants_context
        assert task.call(message_of(b""), "the context") == "the context"
        _forget()


def _forget() -> None:
    import sys

    del sys.modules["tasks.one"]


@pytest.mark.parametrize("rest", ["retries=3", "*more", "**more", "*, retries=3"])
def test_call_keeps_the_context_back_when_the_second_parameter_is_for_something_else(app, rest):
    task = one(app, f"data, {rest}")

    assert not task.wants_context
    assert task.call(message_of(b"x"), None) == "x"


@pytest.mark.parametrize(
    ("lines", "is_async"),
    [
        ("def run(self, data): return data", False),
        ("@classmethod\n    def run(cls, data): return data", False),
        ("@staticmethod\n    def run(data): return data", False),
        ("run = staticmethod(str.upper)", False),
        ("async def run(self, data): return data", True),
        ("@classmethod\n    async def run(cls, data): return data", True),
        ("@staticmethod\n    async def run(data): return data", True),
        ("@plain\n    async def run(self, data): return data", True),
        ("run = Callable()", True),
    ],
)
async def test_call_runs_every_kind_of_function(app, lines, is_async):
    task = app.task(
        f"""
import functools
def plain(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
class Callable:
    async def __call__(self, data): return data
class One(Task):
    {lines}
"""
    )

    result = task.call(message_of(b"X"), None)

    assert task.is_async is is_async
    assert (await result if is_async else result) == "X"
