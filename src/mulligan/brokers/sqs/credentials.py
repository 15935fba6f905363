"""AWS keys, found as every AWS tool finds them, and renewed before they expire without blocking the event loop.

What blocks (files, the metadata service, SSO) runs in a thread; the hot path reads `Credentials.keys`, an attribute.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from mulligan.blocking import in_thread
from mulligan.brokers.sqs.environment import Address, EndpointConfig, is_loopback, new_session
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable, ConfigurationError

__all__ = ["CHECK_S", "LOCAL_KEYS", "Credentials", "Source", "find_keys"]

CHECK_S = 60.0
"""How often keys that expire are loaded. botocore renews them 15 minutes ahead, so once per minute is enough."""
SLOW_S = 5.0
"""A search for keys that takes longer is reported, and then every minute."""
FIRST_S = 60.0
"""The longest wait for the first search. A person may have to touch a security key."""
RENEW_S = 5.0
"""The longest wait of a call for new keys; less than the time that a shutdown leaves to calls."""
SAME_S = 30.0
"""After a search that found the refused keys again: how long no other search is made for them."""
FAILED_S = (0.0, 1.0, 2.0, 5.0, 10.0)
"""After a failed search: how long calls with refused keys fail without another one, by failures in a row.

Otherwise each of them would start a credential_process that can't provide keys.
"""
SEARCH_MAX_S = 300.0
"""A search that takes longer is abandoned for another one, which has twice the time."""
LOCAL_KEYS = Keys("mulligan", "mulligan")
"""Those that `mulligan sqs-server` accepts on loopback; used there only, and only when none are set."""


_SO_FAR = (
    "so far. One of its sources doesn't answer: the credential_process of the profile, SSO, web identity or the "
    "metadata service (AWS_CONFIG_FILE, AWS_PROFILE)."
)


class Source(Protocol):
    """Where keys come from."""

    def load(self, *, force: bool) -> tuple[Keys, bool]:
        """The current keys, and whether they expire. Blocks; one call at a time, except beside a call that hangs.

        force: search from the beginning, whatever was found before.
        """


class _Chain:
    """botocore's chain: environment, profiles, SSO, web identity, ECS, EC2."""

    def __init__(self, address: Address, *, is_local: bool) -> None:
        self._address = address
        self._is_local = is_local
        self._found: Any = None

    def load(self, *, force: bool) -> tuple[Keys, bool]:
        """See `Source`."""
        try:
            if self._found is None or force:
                session = new_session(self._address)
                if self._is_local:
                    # no server on this machine accepts keys of an EC2 role, and outside EC2 that search takes seconds
                    session.get_component("credential_provider").remove("iam-role")
                self._found = session.get_credentials()
            frozen = None if self._found is None else self._found.get_frozen_credentials()
        except Exception as exc:  # noqa: BLE001  see _key_error
            raise _key_error(exc) from None
        if frozen is None:
            if self._is_local:
                return LOCAL_KEYS, False
            raise ConfigurationError(
                [
                    "No AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile "
                    "(AWS_PROFILE, `aws configure`, `aws sso login`), or run on a host that has a role."
                ]
            )
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or None), hasattr(self._found, "refresh_needed")


def find_keys(address: Address, config: EndpointConfig) -> Source:
    """botocore's chain of credential providers, for this endpoint."""
    return _Chain(address, is_local=is_loopback(config.endpoint.host))


class Credentials:
    """The keys in use. They are renewed ahead of time in a thread, while the old ones still sign.

    A search for keys may hang: a credential_process, an SSO or metadata service that doesn't answer. There is one
    search at a time. One that hangs is reported; every caller has a limit for its wait, and `close` waits for none.

    Belongs to the running event loop. report: called with sentences for people.
    """

    def __init__(self, source: Source, report: Callable[[str], None]) -> None:
        self._source = source
        self._report = report
        self._expires = False
        self._check_at = 0.0
        self._search: asyncio.Task[None] | None = None
        self._began_at = 0.0
        self._limit_s = SEARCH_MAX_S
        self._same: Keys | None = None
        self._same_until = 0.0
        self._failures = 0
        self._failed: BaseException | None = None
        self._failed_until = 0.0
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keys: Keys | None = None

    async def ready(self) -> Keys:
        """The keys; the first call loads them. Raises ConfigurationError or a BrokerError when there are none."""
        while self.keys is None:
            await self._wait_for(self._begin(force=False), FIRST_S)
        return self.keys

    def refresh_if_due(self, now: float) -> None:
        """Renew keys that expire, once per minute. Call before each use. now: monotonic seconds."""
        if self._expires and now >= self._check_at and not self._closing.done():
            self._check_at = now + CHECK_S
            if self._is_free():
                self._begin(force=False).add_done_callback(self._report_failure)

    async def renew(self, refused: Keys) -> bool:
        """Search from the beginning, because the service refuses `refused`. True: there are other keys now.

        Also False where a search found the same keys in the last SAME_S: not every refused call starts another one.
        Raises BrokerUnavailable when a search fails or takes too long, and BrokerRefused.
        """
        try:
            return await self._renew(refused)
        except ConfigurationError as exc:  # there were keys before: a file is perhaps being written
            raise BrokerUnavailable(str(exc)) from None

    def close(self) -> None:
        """Abandon a running search: its callers get BrokerUnavailable. May be called twice."""
        if not self._closing.done():
            self._closing.set_result(None)
        if self._search is not None:
            self._search.cancel()

    # -- inside

    async def _renew(self, refused: Keys) -> bool:
        if self._search is not None and self.keys == refused:
            await self._wait_for(self._begin(force=True), RENEW_S)  # the running search may find the new ones
        now = asyncio.get_running_loop().time()
        if self.keys == refused and not (self._same == refused and now < self._same_until):
            if self._failed is not None and now < self._failed_until:
                raise BrokerUnavailable(f"{self._failed} (next search in {self._failed_until - now:.0f} s)")
            await self._wait_for(self._begin(force=True), RENEW_S)
        return self.keys != refused

    def _is_free(self) -> bool:
        """There is no running search, or one that counts as dead."""
        return self._search is None or asyncio.get_running_loop().time() - self._began_at > self._limit_s

    def _begin(self, *, force: bool) -> "asyncio.Task[None]":
        """The running search, or a new one. One that hangs is abandoned for a new one after some minutes."""
        if self._search is not None and not self._is_free():
            return self._search
        loop = asyncio.get_running_loop()
        if self._search is not None:
            self._search.cancel()  # its thread can't be stopped: so the next search has twice the time
            self._limit_s *= 2
            force = True  # what the old one reads may be locked
        search = self._search = loop.create_task(self._load(force=force))
        search.add_done_callback(self._on_searched)
        self._began_at = loop.time()
        return search

    async def _load(self, *, force: bool) -> None:
        reporting = asyncio.get_running_loop().create_task(self._report_waiting())
        try:
            before = self.keys
            self.keys, self._expires = await in_thread(lambda: self._source.load(force=force))
            self._limit_s = SEARCH_MAX_S
            if force and self.keys == before:  # noted here: perhaps no caller waits any more
                self._same, self._same_until = before, asyncio.get_running_loop().time() + SAME_S
        except OSError as exc:
            raise BrokerUnavailable(f"the search for AWS credentials failed: {exc}") from None
        finally:
            reporting.cancel()

    async def _wait_for(self, search: "asyncio.Task[None]", limit_s: float) -> None:
        """Wait for the search. Raises what it raises, and BrokerUnavailable when it takes longer than limit_s."""
        await asyncio.wait([search, self._closing], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._closing.done():
            raise BrokerUnavailable("AWS credentials are not found yet, and the client is closing")
        if not search.done():
            since_s = asyncio.get_running_loop().time() - self._began_at
            raise BrokerUnavailable(f"AWS credentials are not available: the search takes {since_s:.0f} s {_SO_FAR}")
        if not search.cancelled():  # a cancelled one was abandoned for another
            search.result()

    async def _report_waiting(self) -> None:
        waited_s, wait_s = 0.0, SLOW_S
        while True:
            await asyncio.sleep(wait_s)
            waited_s += wait_s
            wait_s = CHECK_S
            meanwhile = "No queue can be used before that" if self.keys is None else "The old keys are used until then"
            self._report(f"the search for AWS credentials takes {waited_s:.0f} s {_SO_FAR} {meanwhile}.")

    def _on_searched(self, search: "asyncio.Task[None]") -> None:
        """Note a failure, also one that no caller waits for any more, which asyncio would warn about."""
        if self._search is search:
            self._search = None
        if search.cancelled():
            return
        self._failed = search.exception()
        self._failures = 0 if self._failed is None else self._failures + 1
        if self._failures:
            holds_s = FAILED_S[min(self._failures, len(FAILED_S)) - 1]
            self._failed_until = asyncio.get_running_loop().time() + holds_s

    def _report_failure(self, search: "asyncio.Task[None]") -> None:
        if not search.cancelled() and (exc := search.exception()) is not None:
            if not isinstance(exc, (ConfigurationError, BrokerError)):
                raise exc
            self._report(f"credentials that expire could not be renewed ahead of time: {exc}")


def _key_error(exc: Exception) -> ConfigurationError | BrokerError:
    """Errors of botocore and of what it reads, translated; by class name, so that botocore need not be imported."""
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    text = f"AWS credentials are not available: {exc}"
    if kinds & {
        "PartialCredentialsError",
        "ProfileNotFound",
        "ConfigParseError",
        "InvalidConfigError",
        "ConfigNotFound",
    }:
        return ConfigurationError([f"{text}. Correct the environment (AWS_*) or the profile."])
    if kinds & {"SSOError", "UnauthorizedSSOTokenError", "TokenRetrievalError"}:
        return BrokerRefused(f"{text}. Log in again: `aws sso login`.")
    return BrokerUnavailable(text)
