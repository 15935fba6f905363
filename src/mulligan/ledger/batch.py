"""How a batch of a ledger is cut into statements. For the ledgers that are databases."""

from collections.abc import Hashable, Iterator, Sequence

__all__ = ["split_by_key"]


def split_by_key(keys: Sequence[Hashable]) -> Iterator[list[int]]:
    """Places of the keys, split so that no key is twice in one round: a statement sees each row once."""
    places = list(range(len(keys)))
    while places:
        seen: set[Hashable] = set()
        this: list[int] = []
        later: list[int] = []
        for place in places:
            (later if keys[place] in seen else this).append(place)
            seen.add(keys[place])
        yield this
        places = later
