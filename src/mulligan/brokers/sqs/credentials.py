"""Who we are at the service: keys as every AWS tool finds them, renewed before they expire without stopping the loop.

What blocks (files, the metadata service, SSO) runs in a thread; the hot path reads `KeyRing.keys`, a plain attribute.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from mulligan.blocking import in_thread
from mulligan.brokers.sqs.environment import Address, Site, is_loopback, new_session
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable, ConfigurationError

__all__ = ["CHECK_S", "LOCAL_KEYS", "KeyRing", "Source", "find_keys"]

CHECK_S = 60.0
"""How often keys that expire are looked at. botocore renews them 15 minutes ahead, so one look a minute is plenty."""
SLOW_S = 5.0
"""A look for keys that takes longer is told of, and then every minute."""
FIRST_S = 60.0
"""The longest that a first look is waited for. It may be a person who has to touch a key."""
RENEW_S = 5.0
"""The longest that a call with refused keys waits for others; less than what a shutdown leaves to calls."""
SAME_S = 30.0
"""How long the finding holds that keys that were refused are all there are."""
FAILED_S = (0.0, 1.0, 2.0, 5.0, 10.0)
"""How long the failure of a look holds for calls whose keys are refused, by how many have failed in a row: a process
that can't give keys isn't started by each of them."""
PATIENCE_S = 300.0
"""A look that takes longer is given up for another one, which has twice the time."""
LOCAL_KEYS = Keys("mulligan", "mulligan")
"""Those that `mulligan sqs-server` takes on loopback; used there, and only when none are set."""


_SO_FAR = (
    "so far. Something that it asks doesn't answer: the credential_process of the profile, SSO, web identity or the "
    "metadata service (AWS_CONFIG_FILE, AWS_PROFILE)."
)


class Source(Protocol):
    """Where keys come from."""

    def load(self, *, afresh: bool) -> tuple[Keys, bool]:
        """The keys as they are now, and whether they expire. Blocks; one call at a time, but for those that hang.

        afresh: look for them from the beginning, whatever was found before.
        """


class _Chain:
    """botocore's chain: environment, profiles, SSO, web identity, ECS, EC2."""

    def __init__(self, address: Address, *, is_local: bool) -> None:
        self._address = address
        self._is_local = is_local
        self._found: Any = None

    def load(self, *, afresh: bool) -> tuple[Keys, bool]:
        """As `Source` says."""
        try:
            if self._found is None or afresh:
                session = new_session(self._address)
                if self._is_local:
                    # no server on this machine takes keys of an EC2 role, and off EC2 the question costs seconds
                    session.get_component("credential_provider").remove("iam-role")
                self._found = session.get_credentials()
            frozen = None if self._found is None else self._found.get_frozen_credentials()
        except Exception as exc:  # noqa: BLE001  see _key_trouble
            raise _key_trouble(exc) from None
        if frozen is None:
            if self._is_local:
                return LOCAL_KEYS, False
            raise ConfigurationError(
                [
                    "No AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile "
                    "(AWS_PROFILE, `aws configure`, `aws sso login`), or run where a role is given."
                ]
            )
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or None), hasattr(self._found, "refresh_needed")


def find_keys(address: Address, site: Site) -> Source:
    """The chain of credentials for a site."""
    return _Chain(address, is_local=is_loopback(site.endpoint.host))


class KeyRing:
    """The keys in use. They are renewed ahead of time in a thread, while the old ones go on signing.

    A look for keys may hang: a credential_process, an SSO or metadata service that answers nothing. One look at a time
    is under way; it is told of, nobody waits for it longer than his limit, and the end waits for none.

    Belongs to the running event loop. told: gets sentences for a person.
    """

    def __init__(self, source: Source, told: Callable[[str], None]) -> None:
        self._source = source
        self._told = told
        self._expires = False
        self._check_at = 0.0
        self._look: asyncio.Task[None] | None = None
        self._began_at = 0.0
        self._patience_s = PATIENCE_S
        self._same: Keys | None = None
        self._same_until = 0.0
        self._failures = 0
        self._failed: BaseException | None = None
        self._failed_until = 0.0
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keys: Keys | None = None

    async def ready(self) -> Keys:
        """The keys; loads them at first. Raises ConfigurationError or a BrokerError when there are none."""
        while self.keys is None:
            await self._wait_for(self._begin(afresh=False), FIRST_S)
        return self.keys

    def look_after(self, now: float) -> None:
        """Call before each use; does nothing but once a minute, for keys that expire. now: monotonic seconds."""
        if self._expires and now >= self._check_at and not self._closing.done():
            self._check_at = now + CHECK_S
            if self._is_free():
                self._begin(afresh=False).add_done_callback(self._tell_failure)

    async def renew(self, refused: Keys) -> bool:
        """Look from the beginning, because the service takes `refused` no more. True: there are other keys now.

        False as well where a look found the same ones a moment ago: calls that are refused one after the other don't
        each look again. Raises BrokerUnavailable when a look fails or takes too long, and BrokerRefused.
        """
        try:
            return await self._renew(refused)
        except ConfigurationError as exc:  # a file that is being written, it may be: there were keys before
            raise BrokerUnavailable(str(exc)) from None

    def close(self) -> None:
        """Let go of a look that is under way: whoever waits for it gets BrokerUnavailable. Twice is once."""
        if not self._closing.done():
            self._closing.set_result(None)
        if self._look is not None:
            self._look.cancel()

    # -- inside

    async def _renew(self, refused: Keys) -> bool:
        if self._look is not None and self.keys == refused:
            await self._wait_for(self._begin(afresh=True), RENEW_S)  # what is being looked for may be the new ones
        now = asyncio.get_running_loop().time()
        if self.keys == refused and not (self._same == refused and now < self._same_until):
            if self._failed is not None and now < self._failed_until:
                raise BrokerUnavailable(f"{self._failed} (looked for again in {self._failed_until - now:.0f} s)")
            await self._wait_for(self._begin(afresh=True), RENEW_S)
        return self.keys != refused

    def _is_free(self) -> bool:
        """No look is under way, or one that can be taken for dead."""
        return self._look is None or asyncio.get_running_loop().time() - self._began_at > self._patience_s

    def _begin(self, *, afresh: bool) -> "asyncio.Task[None]":
        """The look that is under way, else a new one. One that hangs is given up for a new one after some minutes."""
        if self._look is not None and not self._is_free():
            return self._look
        loop = asyncio.get_running_loop()
        if self._look is not None:
            self._look.cancel()  # its thread goes on for as long as it likes: so the next one has twice the time
            self._patience_s *= 2
            afresh = True  # what the old one looks at may be locked
        look = self._look = loop.create_task(self._load(afresh=afresh))
        look.add_done_callback(self._looked)
        self._began_at = loop.time()
        return look

    async def _load(self, *, afresh: bool) -> None:
        telling = asyncio.get_running_loop().create_task(self._tell_of_waiting())
        try:
            before = self.keys
            self.keys, self._expires = await in_thread(lambda: self._source.load(afresh=afresh))
            self._patience_s = PATIENCE_S
            if afresh and self.keys == before:  # noted here: whoever began the look may not have waited for its end
                self._same, self._same_until = before, asyncio.get_running_loop().time() + SAME_S
        except OSError as exc:
            raise BrokerUnavailable(f"AWS credentials can't be looked for: {exc}") from None
        finally:
            telling.cancel()

    async def _wait_for(self, look: "asyncio.Task[None]", limit_s: float) -> None:
        """Until the look has ended. Raises what it raises, and BrokerUnavailable if that takes too long."""
        await asyncio.wait([look, self._closing], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._closing.done():
            raise BrokerUnavailable("AWS credentials are being looked for, and the client is closing")
        if not look.done():
            since_s = asyncio.get_running_loop().time() - self._began_at
            raise BrokerUnavailable(f"AWS credentials can't be had: looking for them takes {since_s:.0f} s {_SO_FAR}")
        if not look.cancelled():  # else it was given up for another
            look.result()

    async def _tell_of_waiting(self) -> None:
        waited_s, wait_s = 0.0, SLOW_S
        while True:
            await asyncio.sleep(wait_s)
            waited_s += wait_s
            wait_s = CHECK_S
            meanwhile = (
                "Nothing can be done at the queues before" if self.keys is None else "The old keys go on till then"
            )
            self._told(f"looking for AWS credentials takes {waited_s:.0f} s {_SO_FAR} {meanwhile}.")

    def _looked(self, look: "asyncio.Task[None]") -> None:
        """Take note of a failure even if all who waited for it were cancelled; asyncio would complain else."""
        if self._look is look:
            self._look = None
        if look.cancelled():
            return
        self._failed = look.exception()
        self._failures = 0 if self._failed is None else self._failures + 1
        if self._failures:
            holds_s = FAILED_S[min(self._failures, len(FAILED_S)) - 1]
            self._failed_until = asyncio.get_running_loop().time() + holds_s

    def _tell_failure(self, look: "asyncio.Task[None]") -> None:
        if not look.cancelled() and (exc := look.exception()) is not None:
            if not isinstance(exc, (ConfigurationError, BrokerError)):
                raise exc
            self._told(f"credentials that expire could not be renewed ahead of time: {exc}")


def _key_trouble(exc: Exception) -> ConfigurationError | BrokerError:
    """Errors of botocore and of what it reads, in our words; by name, so that botocore need not be imported for it."""
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    text = f"AWS credentials can't be had: {exc}"
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
