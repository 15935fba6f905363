from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.auth.signature import Verifier
from mulligan.servers.sqs.wire.error import SqsError

KEYS = [
    Key("alice", "wonder"),
    Key("role", "secret", token="session", expires_at=4_000_000_000.0),
    Key("old", "secret", token="session", expires_at=1.0),
]
VERIFIER = Verifier(KEYS)
TARGET = "AmazonSQS.ListQueues"


def signed(
    key="alice", secret="wonder", token=None, service="sqs", url="http://sqs.test:9324/", body=b"{}", headers=()
):
    """Method, target, headers and body as botocore signs and sends them, and the time of the signature."""
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Target": TARGET, **dict(headers)})
    SigV4Auth(Credentials(key, secret, token), service, "eu-west-1").add_auth(request)
    sent = {name.lower(): text for name, text in request.headers.items()}
    sent["host"] = url.split("/")[2]
    at = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return ["POST", "/" + url.split("/", 3)[3], sent, body], at


def refused(request, now):
    with pytest.raises(SqsError) as error:
        VERIFIER.verify(*request, now)
    return error.value


@pytest.mark.parametrize(
    "url",
    [
        "http://sqs.test:9324/",
        "http://sqs.test:9324/000000000000/q.fifo",
        "http://sqs.test:9324/a%20b/c/",
        "http://sqs.test:9324/?b=2&a=1&c",
        "http://sqs.test:9324/?x=%2F%20~&x=a",
    ],
)
def test_verifier_takes_what_botocore_signs(url):
    request, at = signed(url=url)

    identity = VERIFIER.verify(*request, at)

    assert (identity.key.id, identity.region) == ("alice", "eu-west-1")


def test_verifier_takes_a_session_token():
    request, at = signed("role", "secret", "session")

    assert VERIFIER.verify(*request, at).key.id == "role"


def test_verifier_takes_headers_with_inner_spaces():
    request, at = signed(headers={"X-Custom": "a   b"})

    assert VERIFIER.verify(*request, at).key.id == "alice"


@pytest.mark.parametrize(("place", "changed"), [(0, "GET"), (1, "/other"), (3, b'{"a":1}')])
def test_verifier_refuses_what_was_changed_after_signing(place, changed):
    request, at = signed()
    request[place] = changed

    error = refused(request, at)

    assert (error.shape, error.code, error.status) == ("InvalidSignatureException", "SignatureDoesNotMatch", 403)


def test_verifier_refuses_a_changed_signed_header():
    request, at = signed()
    request[2]["x-amz-target"] = "AmazonSQS.PurgeQueue"

    assert refused(request, at).shape == "InvalidSignatureException"


def test_verifier_refuses_an_added_amz_header_that_is_not_signed():
    request, at = signed()
    request[2]["x-amz-other"] = "x"

    assert "must be a 'SignedHeader'" in refused(request, at).message


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret": "wrong"}, "SignatureDoesNotMatch"),
        ({"key": "nobody"}, "InvalidClientTokenId"),
        ({"key": "role", "secret": "secret"}, "InvalidClientTokenId"),
        ({"key": "role", "secret": "secret", "token": "other"}, "InvalidClientTokenId"),
        ({"key": "old", "secret": "secret", "token": "session"}, "ExpiredToken"),
        ({"service": "sns"}, "SignatureDoesNotMatch"),
    ],
)
def test_verifier_refuses_wrong_credentials(options, code):
    request, at = signed(**options)

    assert refused(request, at).code == code


@pytest.mark.parametrize(("by_s", "part"), [(901, "Signature expired"), (-901, "Signature not yet current")])
def test_verifier_refuses_a_clock_that_is_off_by_more_than_fifteen_minutes(by_s, part):
    request, at = signed()

    assert part in refused(request, at + by_s).message


@pytest.mark.parametrize("by_s", [899, -899])
def test_verifier_takes_a_clock_that_is_off_by_less(by_s):
    request, at = signed()

    assert VERIFIER.verify(*request, at + by_s)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [(None, "MissingAuthenticationToken"), ("", "MissingAuthenticationToken"), ("Basic x", "IncompleteSignature")],
)
def test_verifier_refuses_a_request_without_a_signature(authorization, code):
    request, at = signed()
    request[2].pop("authorization")
    if authorization is not None:
        request[2]["authorization"] = authorization

    assert refused(request, at).code == code


def test_verifier_refuses_a_date_of_another_day_than_the_scope():
    request, at = signed()
    request[2]["x-amz-date"] = "20200101T000000Z"

    assert "Date in Credential scope" in refused(request, at).message
