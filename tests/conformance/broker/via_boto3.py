"""The broker seam through boto3, written without a look at our adapter.

With it each conformance case asks our server what AWS's own client makes of it, so that our client and our server can't
agree on a mistake. Only what a caller of boto3 would do stands here; nothing is checked before the service is asked.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from math import ceil
from threading import Event
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session, get_session

from mulligan.brokers.base import Declared, Features, Owners, Queues, not_there
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused
from mulligan.core.message import AttributeValue, QueueName, Typed

__all__ = ["BrokerViaBoto3"]

THREADS = 12
_OF_AN_ENTRY = ("BatchRequestTooLong", "InvalidMessageContents")
"""Errors with which a whole batch may be refused for the sake of one entry, unnamed: then each is asked for alone."""


@cache
def _session() -> Session:
    """Shared: it reads the service model, which takes longer than a test."""
    return get_session()


class BrokerViaBoto3:
    """Each call blocks a thread of its own."""

    def __init__(self, url: str, key: str) -> None:
        self._client: Any = _session().create_client(
            "sqs",
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id=key,
            aws_secret_access_key=key,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=THREADS),
        )
        self._threads = ThreadPoolExecutor(THREADS, "boto3")
        self._urls: dict[QueueName, str] = {}
        self._is_closed = False
        self._limit_bytes = 1_048_576

    @property
    def features(self) -> Features:
        return Features(10, 4, 900, 43_200, 1.0, self._limit_bytes, max_attributes=10, is_text=True, has_price=True)

    @property
    def billed(self) -> Mapping[str, int]:
        return {}

    async def declare(self, queues: Queues, *, create: bool) -> Declared:
        created, missing = [], []
        for name in queues.all:
            try:
                self._urls[name] = (await self._call(self._client.get_queue_url, QueueName=name))["QueueUrl"]
                continue
            except self._client.exceptions.QueueDoesNotExist:
                pass
            if create:
                self._urls[name] = (await self._call(self._client.create_queue, QueueName=name))["QueueUrl"]
                created.append(name)
            else:
                missing.append(name)
        for url in self._urls.values():
            answer = await self._call(self._client.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])
            self._limit_bytes = int(answer["Attributes"]["MaximumMessageSize"])
        problems = (not_there(missing),) if missing else ()
        return Declared(tuple(created), problems, missing=tuple(missing))

    lead = None

    async def owners(self, queues: Queues) -> Owners:
        """Nothing to say."""
        return Owners()

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        if self._is_closed:
            return []
        is_abandoned = Event()
        asked = self._submit(
            self._receive,
            is_abandoned,
            QueueUrl=self._url(queue),
            MaxNumberOfMessages=max_count,
            WaitTimeSeconds=ceil(wait_s),
            VisibilityTimeout=ceil(lease_s),
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            is_abandoned.set()
            raise
        except ClientError as exc:
            raise BrokerRefused(f"{queue}: {exc}") from None
        return [_delivery(queue, one) for one in answer.get("Messages", [])]

    async def rest(self, queue: QueueName) -> None:
        """Nothing is fetched ahead."""

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        wire: list[dict[str, Any]] = []
        faults: dict[str, EntryFault] = {}
        for number, outgoing in enumerate(entries):
            try:
                wire.append(_entry(str(number), outgoing))
            except UnicodeDecodeError as exc:  # boto3 can't be given bytes
                faults[str(number)] = EntryFault(Fault.REFUSED, str(exc))
        sizes = {one["Id"]: f"{_size_bytes(one)} bytes of {self._limit_bytes}: " for one in wire}
        told = await self._batch(self._client.send_message_batch, queue, wire, sizes)
        return _in_order(len(entries), faults | told)

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        wire = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        return _in_order(len(wire), await self._batch(self._client.delete_message_batch, queue, wire))

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        wire = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": ceil(seconds)}
            for number, (receipt, seconds) in enumerate(entries)
        ]
        return _in_order(len(wire), await self._batch(self._client.change_message_visibility_batch, queue, wire))

    extend = release

    async def depth(self, queue: QueueName) -> Depth:
        answer = await self._call(self._client.get_queue_attributes, QueueUrl=self._url(queue), AttributeNames=["All"])
        given = answer["Attributes"]
        counts = [int(given[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "Delayed", "NotVisible")]
        return Depth(*counts, is_exact=False)

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:
        """Messages are shown to their receivers only."""
        return None

    async def purge(self, queue: QueueName) -> None:
        await self._call(self._client.purge_queue, QueueUrl=self._url(queue))

    async def close(self) -> None:
        """Waits until receives under way have ended."""
        self._is_closed = True
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    # -- inside

    def _url(self, queue: QueueName) -> str:
        if self._is_closed:
            raise BrokerRefused("it is closed")
        # what nobody has declared is asked for all the same: the service has to refuse it
        return self._urls.get(queue, f"{self._client.meta.endpoint_url}/000000000000/{queue}")

    def _submit(self, method: Callable[..., Any], *given: Any, **fields: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(method, *given, **fields))

    async def _call(self, method: Callable[..., Any], **fields: Any) -> Any:
        return await self._submit(method, **fields)

    async def _batch(
        self, method: Callable[..., Any], queue: QueueName, wire: list[dict[str, Any]], prefixes: Mapping[str, str] = {}
    ) -> dict[str, EntryFault]:
        url = self._url(queue)
        if not wire:
            return {}
        try:
            answer = await self._call(method, QueueUrl=url, Entries=wire)
        except ClientError as exc:
            if not exc.response["Error"]["Code"].endswith(_OF_AN_ENTRY):
                raise BrokerRefused(f"{queue}: {exc}") from None
            if len(wire) == 1:
                return {wire[0]["Id"]: EntryFault(Fault.REFUSED, f"{prefixes.get(wire[0]['Id'], '')}{exc}")}
            alone = [await self._batch(method, queue, [one], prefixes) for one in wire]
            return {id_: fault for faults in alone for id_, fault in faults.items()}
        assert {one["Id"] for one in answer.get("Successful", [])} | {
            one["Id"] for one in answer.get("Failed", [])
        } == {one["Id"] for one in wire}
        return {
            one["Id"]: EntryFault(
                Fault.REFUSED if one["SenderFault"] else Fault.RETRY,
                f"{prefixes.get(one['Id'], '')}{one['Code']}: {one.get('Message')}",
            )
            for one in answer.get("Failed", [])
        }

    def _receive(self, is_abandoned: Event, **fields: Any) -> Any:
        """In a thread, which can't be cancelled: what it brings when nobody waits for it any more is given back."""
        answer = self._client.receive_message(**fields)
        if is_abandoned.is_set():
            for one in answer.get("Messages", []):
                self._client.change_message_visibility(
                    QueueUrl=fields["QueueUrl"], ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0
                )
        return answer


def _in_order(count: int, faults: Mapping[str, EntryFault]) -> list[EntryFault | None]:
    return [faults.get(str(number)) for number in range(count)]


def _entry(id_: str, outgoing: Outgoing) -> dict[str, Any]:
    return {
        "Id": id_,
        "MessageBody": outgoing.body.decode(),
        "DelaySeconds": ceil(outgoing.delay_s),
        "MessageAttributes": {name: _attribute(item) for name, item in outgoing.attributes.items()},
    }


def _attribute(item: AttributeValue) -> dict[str, Any]:
    kind, content = (item.kind, item.value) if isinstance(item, Typed) else (None, item)
    if isinstance(content, bytes):
        return {"DataType": kind or "Binary", "BinaryValue": content}
    return {"DataType": kind or "String", "StringValue": content}


def _plain(given: Mapping[str, Any]) -> AttributeValue:
    content = given["BinaryValue"] if "BinaryValue" in given else given["StringValue"]
    return content if given["DataType"] in {"String", "Binary"} else Typed(given["DataType"], content)


def _size_bytes(wire: Mapping[str, Any]) -> int:
    size = len(wire["MessageBody"].encode())
    for name, given in wire["MessageAttributes"].items():
        content = given.get("BinaryValue") or given.get("StringValue", "").encode("utf-8", "surrogatepass")
        size += len(name) + len(given["DataType"]) + len(content)
    return size


def _delivery(queue: QueueName, given: Mapping[str, Any]) -> Delivery:
    system = given["Attributes"]
    return Delivery(
        queue,
        given["ReceiptHandle"],
        given["MessageId"],
        given["Body"].encode(),
        {name: _plain(item) for name, item in given.get("MessageAttributes", {}).items()},
        int(system["SentTimestamp"]) / 1000,
        int(system["ApproximateReceiveCount"]),
        system.get("MessageGroupId"),
    )
