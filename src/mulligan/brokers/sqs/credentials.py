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
LOCAL_KEYS = Keys("mulligan", "mulligan")
"""Those that `mulligan sqs-server` takes on loopback; used there, and only when none are set."""


class Source(Protocol):
    """Where keys come from."""

    def load(self, *, afresh: bool) -> tuple[Keys, bool]:
        """The keys as they are now, and whether they expire. Blocks; one call at a time.

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
    """The keys in use. They are renewed ahead of time in a thread, while the old ones go on signing."""

    def __init__(self, source: Source, told: Callable[[str], None]) -> None:
        self._source = source
        self._told = told
        self._expires = False
        self._check_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.keys: Keys | None = None

    async def ready(self) -> Keys:
        """The keys; loads them at first. Raises ConfigurationError or a BrokerError when there are none."""
        while self.keys is None:
            await self._once(afresh=False)
        return self.keys

    def look_after(self, now: float) -> None:
        """Call before each use; does nothing but once a minute, for keys that expire. now: monotonic seconds."""
        if self._expires and now >= self._check_at and self._task is None:
            self._check_at = now + CHECK_S
            self._task = asyncio.get_running_loop().create_task(self._quietly())

    async def renew(self, refused: Keys) -> bool:
        """Load from the beginning, because the service says that `refused` is over. False: the same keys were found."""
        while self._task is not None:
            await asyncio.wait([self._task])  # what is being looked for may be the new ones
        if self.keys == refused:
            await self._once(afresh=True)
        return self.keys != refused

    async def close(self) -> None:
        """Wait for a look that is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _once(self, *, afresh: bool) -> None:
        """One load at a time; who comes meanwhile waits for it."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._load(afresh=afresh))
            self._task.add_done_callback(_look_at)
        await asyncio.shield(self._task)

    async def _load(self, *, afresh: bool) -> None:
        try:
            self.keys, self._expires = await in_thread(lambda: self._source.load(afresh=afresh))
        finally:
            self._task = None

    async def _quietly(self) -> None:
        try:
            await self._load(afresh=False)
        except (ConfigurationError, BrokerError) as exc:
            self._told(f"credentials that expire could not be renewed ahead of time: {exc}")


def _look_at(task: asyncio.Task[None]) -> None:
    """Take note of a failure even if all who waited for it were cancelled; asyncio would complain else."""
    if not task.cancelled():
        task.exception()


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
