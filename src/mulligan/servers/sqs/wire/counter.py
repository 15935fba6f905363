"""What was asked and how it ended, counted: by action and by outcome."""

from typing import Any

__all__ = ["Counters"]


class Counters:
    """Numbers since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """All to zero."""
        self._requests: dict[str, dict[str, int]] = {}
        self._sent = self._received = self._deleted = 0

    def count(self, action: str, outcome: str) -> None:
        """One request. outcome: "ok", "empty" (a receive without a message), a code of an error, or a fault's name."""
        outcomes = self._requests.setdefault(action, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def count_messages(self, action: str, answer: Any) -> int:
        """The messages or entries in an answer that was carried out; how many."""
        if action == "ReceiveMessage":
            number = len(answer.get("Messages", ()))
            self._received += number
            return number
        number = len(answer.get("Successful", ())) if action.endswith("Batch") else 1
        if action.startswith("SendMessage"):
            self._sent += number
        elif action.startswith("DeleteMessage"):
            self._deleted += number
        return number

    def told(self) -> dict[str, Any]:
        """As the control endpoint tells them."""
        # a copy first: another thread may ask while requests are counted
        counted = {action: dict(outcomes) for action, outcomes in sorted(self._requests.items())}
        return {
            "total": sum(sum(outcomes.values()) for outcomes in counted.values()),
            "requests": counted,
            "messages": {"sent": self._sent, "received": self._received, "deleted": self._deleted},
        }
