import pytest

from mulligan.core.message import Message, Uid
from mulligan.integrations.content import text_of, title_of

SNS = (
    b'{\n  "Type" : "Notification",\n  "MessageId" : "22b80b92",\n  "TopicArn" : "arn:aws:sns:eu-west-1:1:orders",\n'
    b'  "Subject" : "An order",\n  "Message" : "{\\"order\\": 7}"\n}'
)
POINTER = b'["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]'


def message(body: bytes) -> Message:
    return Message(Uid("018bcfe56800-00112233445566778899"), body, {}, 0.0)


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b'{"order": 7, "sku": "lamp"}', '{"order":7,"sku":"lamp"}'),
        (b'{\n  "order": 7\n}', '{"order":7}'),
        (b'[{"order": 7}, 8]', '[{"order":7},8]'),
        (POINTER, '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]'),
        (b'{"Records": [{"eventSource": "aws:s3"}]}', '{"Records":[{"eventSource":"aws:s3"}]}'),
        ('{"größe": "½"}'.encode(), '{"größe":"½"}'),
    ],
)
def test_title_is_the_compact_json_when_it_has_no_title_of_its_own(body, title):
    assert title_of(message(body), 250) == title


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (SNS, "An order"),
        (SNS.replace(b'  "Subject" : "An order",\n', b""), '{"order": 7}'),
        (b'{"TITLE": "Loud", "order": 7}', "Loud"),
        (b'{"Summary": "of a form", "summary": "of a program"}', "of a program"),
        (b'{"summary": "", "Title": "  the\\nsecond ", "name": "third"}', "the second"),
        (b'{"Event": "OrderPlaced"}', "event OrderPlaced"),
        (b'{"title": true, "id": 7}', "id 7"),
        (b'{"title": "\\u202e", "id": 7}', "id 7"),
    ],
)
def test_title_is_the_field_that_is_called_so_in_whatever_case(body, title):
    assert title_of(message(body), 250) == title


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b"first\nsecond", "first"),
        (b'{\n  "order": 7,\n}', '{ "order": 7, }'),
        (b"---\norder: 7\n", "--- order: 7"),
        (b'{\n "order": "' + b"x" * 1_100_000 + b'"\n}', '{ "order": "xxxx ...'),
        ("🎉\n".encode(), "🎉"),
        (b"{}", "Message 018bcfe56800-00112233445566778899"),
        (b"[[]]", "Message 018bcfe56800-00112233445566778899"),
        (b"", "Message 018bcfe56800-00112233445566778899"),
        (b"\n \n", "Message 018bcfe56800-00112233445566778899"),
        (b"\xff\xfe", "(2 bytes that are not text)"),
    ],
)
def test_title_is_never_a_brace_alone(body, title):
    assert title_of(message(body), 20 if len(body) > 1_000_000 else 250) == title


def test_title_is_cut_at_the_limit():
    title = title_of(message(b'{"order": "' + b"x" * 300 + b'"}'), 250)

    assert title == '{"order":"' + "x" * 236 + " ..."


def test_text_stays_the_json_with_indents():
    assert text_of(message(b'{"order":7}'), 100) == '{\n  "order": 7\n}'
