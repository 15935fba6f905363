"""The signature: a general signer that passes AWS's vectors, and the fast one equal to it."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.brokers.sqs.sign import Keys, Signer, signing_key, timestamp

VECTORS = json.loads((Path(__file__).parent / "vectors/aws4_testsuite/cases.json").read_text(encoding="utf-8"))
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
STAMP = "20150830T123600Z"


def canonical_request(method: str, path: str, query: str, headers: Sequence[tuple[str, str]], body: bytes) -> str:
    """The canonical form of a request. query: as sent, without "?". headers: those to sign, doubles allowed."""
    merged = _merged(headers)
    lines = "".join(f"{name}:{text}\n" for name, text in merged.items())
    digest = hashlib.sha256(body).hexdigest()
    return f"{method}\n{_canonical_path(path)}\n{_canonical_query(query)}\n{lines}\n{';'.join(merged)}\n{digest}"


def string_to_sign(canonical: str, stamp: str, region: str, service: str) -> str:
    """What the key signs. stamp: as `timestamp` writes it."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"AWS4-HMAC-SHA256\n{stamp}\n{stamp[:8]}/{region}/{service}/aws4_request\n{digest}"


def authorize(
    keys: Keys,
    *,
    region: str,
    service: str,
    stamp: str,
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
) -> str:
    """The Authorization header of any request whose body is signed. The x-amz-date header must be among `headers`."""
    to_sign = string_to_sign(canonical_request(method, path, query, headers, body), stamp, region, service)
    key = signing_key(keys.secret_key, stamp[:8], region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{stamp[:8]}/{region}/{service}/aws4_request, "
        f"SignedHeaders={';'.join(_merged(headers))}, Signature={signature}"
    )


def _merged(headers: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    values: dict[str, list[str]] = {}
    for name, text in headers:
        values.setdefault(name.lower().strip(), []).append(" ".join(text.split()))
    return {name: ",".join(values[name]) for name in sorted(values)}


def _canonical_path(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{slash}", safe="/-_.~%")


def _canonical_query(query: str) -> str:
    split = [item.partition("=") for item in query.split("&") if item]
    pairs = [(quote(unquote(name), safe="-_.~"), quote(unquote(text), safe="-_.~")) for name, _, text in split]
    return "&".join(f"{name}={text}" for name, text in sorted(pairs))


# -- the vectors ------------------------------------------------------------------------------------------------------


def parsed(raw: str) -> tuple[str, str, str, list[tuple[str, str]], bytes]:
    """Method, path, query, headers and body of a request as the vectors write it."""
    head, _, body = raw.partition("\n\n")
    line, *rest = head.split("\n")
    method, _, target = line.removesuffix(" HTTP/1.1").partition(" ")
    path, _, query = target.partition("?")
    headers: list[tuple[str, str]] = []
    for item in rest:
        if item[:1].isspace():
            name, text = headers.pop()
            headers.append((name, f"{text} {item}"))
        elif item:
            name, _, text = item.partition(":")
            headers.append((name, text))
    return method, path, query, headers, body.encode()


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_general_signer_makes_the_published_signature_of(case):
    method, path, query, headers, body = parsed(case["req"])
    token = [line for line in case["creq"].split("\n") if line.startswith("x-amz-security-token:")]
    if token and not any(name.lower() == "x-amz-security-token" for name, _ in headers):
        headers.append(("x-amz-security-token", token[0].partition(":")[2]))
    canonical = canonical_request(method, path, query, headers, body)

    assert canonical == case["creq"]
    assert string_to_sign(canonical, STAMP, "us-east-1", "service") == case["sts"]
    assert case["authz"] == authorize(
        Keys("AKIDEXAMPLE", SECRET),
        region="us-east-1",
        service="service",
        stamp=STAMP,
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=body,
    )


# -- the fast one -----------------------------------------------------------------------------------------------------

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789+/=-", min_size=1, max_size=40)


@given(
    access_key=WORD,
    secret_key=WORD,
    token=st.none() | WORD,
    region=WORD,
    action=st.sampled_from(["ReceiveMessage", "DeleteMessageBatch", "SendMessageBatch"]),
    body=st.binary(max_size=200),
    times=st.lists(st.floats(0, 4e9), min_size=1, max_size=4),
)
def test_fast_signer_signs_as_the_general_one(access_key, secret_key, token, region, action, body, times):
    keys = Keys(access_key, secret_key, token)
    signer = Signer(keys, region=region, host="sqs.example.com:8443")

    for now in times:  # the same signer over many times: its caches of second and day must not leak
        head = signer.head(action, hashlib.sha256(body).hexdigest(), len(body), now).decode()

        line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = [(name, text) for name, _, text in (item.partition(": ") for item in rest)]
        sent = dict(headers)
        unsigned = ("authorization", "content-length", "accept-encoding")  # a proxy may change the last
        to_sign = [item for item in headers if item[0] not in unsigned]
        assert line == "POST / HTTP/1.1"
        assert sent["content-length"] == str(len(body))
        assert sent["accept-encoding"] == "identity"
        assert sent["x-amz-date"] == timestamp(now)
        assert sent.get("x-amz-security-token") == token
        assert sent["authorization"] == authorize(
            keys,
            region=region,
            service="sqs",
            stamp=sent["x-amz-date"],
            method="POST",
            path="/",
            query="",
            headers=to_sign,
            body=body,
        )


def test_timestamp_is_utc_without_punctuation():
    assert timestamp(1440938160.9) == "20150830T123600Z"


def test_keys_hide_the_secret_when_shown():
    shown = repr(Keys("AKID", "top-secret", "token-secret"))

    assert "AKID" in shown
    assert "secret" not in shown.replace("secret_key=<hidden>", "")
