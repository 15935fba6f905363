"""A stand-in for Trello. Errors are plain text, as there; a 429 is JSON and says no wait."""

import re
from typing import Any

from tests.fakes.service import Answer, Request, Service

KEY, TOKEN, BOARD, LIST = "trello-key", "trello-token", "board1", "Incoming"


class Trello(Service):
    """cards: all that were created, in order. limit: requests that are taken in 10 s; None for no limit."""

    root = "/1"

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[dict[str, Any]] = []
        self.lists = {"l1": LIST, "l2": "Done"}
        self.limit: int | None = None
        self._taken: list[float] = []

    def keys(self) -> list[str]:
        return [card["desc"].rpartition("\n")[2] for card in self.cards]

    def handle(self, request: Request) -> Answer:
        problem = self._refused(request)
        if problem is not None:
            return problem
        place = request.path.removeprefix("/1/")
        if request.method == "GET" and (match := re.fullmatch(r"boards/(\w+)/lists", place)):
            if match.group(1) != BOARD:
                return Answer(404, "board not found")
            return Answer(200, [{"id": one, "name": name, "closed": False} for one, name in self.lists.items()])
        if request.method == "GET" and (match := re.fullmatch(r"lists/(\w+)/cards", place)):
            if match.group(1) not in self.lists:
                return Answer(404, "model not found")
            wanted = {"id", *request.query.get("fields", "name").split(",")}
            cards = [card for card in self.cards if card["idList"] == match.group(1)]
            return Answer(200, [{name: one for name, one in card.items() if name in wanted} for card in cards])
        if request.method == "POST" and place == "cards":
            return self._create(request.data)
        return Answer(404, "Cannot " + request.method)

    def _refused(self, request: Request) -> Answer | None:
        given = request.headers.get("authorization", "")
        match = re.fullmatch(r'OAuth oauth_consumer_key="([^"]*)", oauth_token="([^"]*)"', given)
        if match is None or match.group(1) != KEY:
            return Answer(401, "invalid key")
        if match.group(2) != TOKEN:
            return Answer(401, "invalid token")
        if self.limit is not None:
            now = self.now()
            self._taken = [at for at in self._taken if at > now - 10]
            if len(self._taken) >= self.limit:
                return Answer(429, {"error": "API_TOKEN_LIMIT_EXCEEDED", "message": "Rate limit exceeded"})
            self._taken.append(now)
        return None

    def _create(self, data: Any) -> Answer:
        if data.get("idList") not in self.lists:
            return Answer(400, "invalid value for idList")
        if len(data.get("desc", "")) > 16_384:
            return Answer(400, "invalid value for desc")
        number = len(self.cards) + 1
        card = {**data, "id": f"c{number}", "shortUrl": f"https://trello.com/c/{number}"}
        self.cards.append(card)
        return Answer(200, card)
