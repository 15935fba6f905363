"""Trello: a card for every message. The card carries its key as the last line of its description."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.core.value import value
from mulligan.integrations import http
from mulligan.integrations.content import cut, text_of, title_of
from mulligan.integrations.environment import missing, missing_extra, token_problems, url_problems, variable
from mulligan.integrations.failure import Fault, Refused
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S, RateLimitGate, once
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext

__all__ = ["TrelloCardCreatorTask"]

TITLE_MAX = 250
DESCRIPTION_MAX = 16_384  # Trello refuses a longer one
LIMITED_S = 10.0  # its limits are counted over 10 s, and a 429 does not say how long to wait


class TrelloCardCreatorTask(Task):
    """Creates a card for each message, once. Override `title`, `description`, `fields` to say what is in it."""

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        self._url = variable("TRELLO_SERVER_URL", "https://api.trello.com/1").rstrip("/")
        self._key = variable("TRELLO_KEY")
        self._token = variable("TRELLO_AUTH_TOKEN")
        self._board = variable("TRELLO_BOARD_ID")
        self._list_name = variable("TRELLO_LIST_NAME")
        self._list_id: str | None = None
        self._gate = RateLimitGate()

    def title(self, message: Message) -> str:
        """The card's title."""
        return title_of(message, TITLE_MAX)

    def description(self, message: Message) -> str:
        """The card's description, Markdown."""
        return text_of(message, DESCRIPTION_MAX)

    def fields(self, message: Message) -> Mapping[str, Any]:  # noqa: ARG002 - the signature is what a subclass overrides
        """Further fields of the card, as Trello's API takes them, e.g. {"pos": "top", "idLabels": ["..."]}."""
        return {}

    def check(self) -> Sequence[str]:
        """Missing variables; see `Task.check`."""
        needed = {
            "TRELLO_KEY": self._key,
            "TRELLO_AUTH_TOKEN": self._token,
            "TRELLO_BOARD_ID": self._board,
            "TRELLO_LIST_NAME": self._list_name,
        }
        return [
            *missing_extra(),
            *missing(**needed),
            *token_problems(TRELLO_KEY=self._key, TRELLO_AUTH_TOKEN=self._token),
            *url_problems("TRELLO_SERVER_URL", self._url),
        ]

    async def probe(self) -> Sequence[str]:
        """Key, token, board, list; see `Task.probe`."""
        try:
            await self._look_up_list()
        except Refused as exc:
            return [f"Trello: {exc.reason}"]
        except Fault as exc:
            return [f"Trello at {self._url}: {exc.reason}. Is the service reachable from here?"]
        return []

    async def run(self, message: Message, context: TaskContext) -> None:
        """Create the card of a message unless it is there."""
        where = await once(_Card(self, message), context, self._gate, self.now())
        context.log.info("Trello card", card=where)

    # -- calls

    async def _call(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, data: Any = None
    ) -> http.Reply:
        # in the header rather than the query, so that they get into nobody's log of URLs
        pair = f'OAuth oauth_consumer_key="{self._key}", oauth_token="{self._token}"'
        headers = {"authorization": pair, "accept": "application/json"}
        return await http.call(method, f"{self._url}/{path}", headers=headers, params=params, data=data)

    async def _list(self) -> str:
        if self._list_id is None:
            self._list_id = await self._look_up_list()
        return self._list_id

    async def _look_up_list(self) -> str:
        path = f"boards/{quote(self._board, safe='')}/lists"
        reply = await self._call("GET", path, params={"fields": "name,closed", "filter": "open"})
        rows = reply.data
        if reply.status == 404 or (reply.status == 400 and "id" in reply.text):
            raise Refused(
                f"{reply.status} there is no board {self._board!r} that this token may see. TRELLO_BOARD_ID is in the "
                "board's address, after /b/. Correct it, or invite the token's user to the board."
            )
        if reply.status != 200 or not isinstance(rows, list):
            raise self._fault(reply, "to the lists of the board")
        lists = {str(one.get("name")): str(one.get("id")) for one in rows if isinstance(one, dict)}
        if self._list_name not in lists:
            raise Refused(
                f"the board has no open list {self._list_name!r}. TRELLO_LIST_NAME must be one of: "
                f"{', '.join(repr(name) for name in lists) or '(there is none)'}."
            )
        return lists[self._list_name]

    async def _find(self, key: str) -> str | None:
        reply = await self._in_list(lambda place: ("GET", f"lists/{place}/cards", {"fields": "desc,shortUrl"}, None))
        rows = reply.data
        if reply.status != 200 or not isinstance(rows, list):
            raise self._fault(reply, "to the cards of the list")
        for card in rows:
            if isinstance(card, dict) and str(card.get("desc", "")).rstrip().rpartition("\n")[2] == key:
                return _place(card)
        return None

    async def _create(self, key: str, message: Message) -> str:
        text = cut(self.description(message), DESCRIPTION_MAX - len(key) - 2)
        card = {
            "name": " ".join(self.title(message).split())[:TITLE_MAX] or f"Message {message.uid}",
            "pos": "bottom",
            **self.fields(message),
            "desc": f"{text}\n\n{key}",
        }
        reply = await self._in_list(lambda place: ("POST", "cards", None, {**card, "idList": place}))
        data = reply.data
        if reply.status == 200 and isinstance(data, dict) and data.get("id"):
            return _place(data)
        raise self._fault(reply, "to the new card")

    async def _in_list(
        self, request: Callable[[str], tuple[str, str, Mapping[str, str | int] | None, Any]]
    ) -> http.Reply:
        """Send a request about the list; once more, with its id looked up again, when the known one is not there."""
        for is_last in (False, True):
            method, path, params, data = request(await self._list())
            reply = await self._call(method, path, params=params, data=data)
            is_gone = reply.status == 404 or (reply.status == 400 and "idList" in reply.text)
            if is_last or not is_gone:
                return reply
            self._list_id = None
        raise AssertionError

    def _fault(self, reply: http.Reply, what: str) -> Fault:
        data = reply.data
        reason = data.get("error") if isinstance(data, dict) else None
        text = f"{what}: {reason or reply.text or '(no text)'}"
        if reply.status == 401:
            name = "TRELLO_KEY" if "key" in reply.text else "TRELLO_AUTH_TOKEN"
            text += f" ({name} is not taken: copy it again from trello.com/power-ups/admin, or make a new one)"
        return http.fault_of(reply, text, self.now(), limited_s=LIMITED_S)


@value
class _Card:
    """The card of one message, as `once` handles it."""

    task: TrelloCardCreatorTask
    message: Message

    @property
    def name(self) -> str:
        return "Trello"

    @property
    def looks_at_s(self) -> tuple[float, ...]:
        return ()

    async def find(self, key: str) -> str | None:
        return await self.task._find(key)  # noqa: SLF001 - the other half of the task

    async def create(self, key: str) -> str:
        return await self.task._create(key, self.message)  # noqa: SLF001 - as above


def _place(card: Mapping[str, Any]) -> str:
    return str(card.get("shortUrl") or card.get("url") or card.get("id"))
