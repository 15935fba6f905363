"""What Trello alone does: lists by name, limits without a wait."""

import pytest

from mulligan import integrations


@pytest.fixture
def life(trello_server, make_life):
    return make_life(integrations.TrelloCardCreatorTask)


async def test_list_is_looked_up_once_for_many_messages(trello_server, life, clock):
    await life.go_on()
    await type(life)(life.task, clock, uid="018bcfe56800-00000000000000000001").go_on()

    assert len(trello_server.cards) == 2
    assert len(trello_server.calls("/lists")) == 1


async def test_list_is_looked_up_again_when_it_was_replaced_by_another_of_its_name(trello_server, life, clock):
    await life.go_on()
    trello_server.lists = {"l9": "Incoming"}

    await type(life)(life.task, clock, uid="018bcfe56800-00000000000000000001").go_on()

    assert [card["idList"] for card in trello_server.cards] == ["l1", "l9"]


async def test_reason_names_the_lists_that_exist_when_the_wanted_one_does_not(trello_server, life):
    trello_server.lists = {"l1": "Todo", "l2": "Done"}

    await life.go_on()

    assert (life.ended, life.attempt) == ("exhausted", 1)
    assert "no open list 'Incoming'" in life.error
    assert "'Todo', 'Done'" in life.error


async def test_card_waits_ten_seconds_when_trello_limits_without_saying_how_long(trello_server, life, clock):
    trello_server.limit = 2
    await life.go_on()
    other = type(life)(life.task, clock, uid="018bcfe56800-00000000000000000001")

    await other.go_on()

    assert (other.ended, len(trello_server.cards)) == ("done", 2)
    assert 10 <= other.waits_s[0] <= 11


async def test_key_and_token_stay_out_of_urls_and_reasons(trello_server, make_life, monkeypatch):
    monkeypatch.setenv("TRELLO_AUTH_TOKEN", "wrong-token")
    life = make_life(integrations.TrelloCardCreatorTask)

    await life.go_on()

    assert "invalid token" in life.error
    assert "TRELLO_AUTH_TOKEN" in life.error
    assert "wrong-token" not in life.error
    assert all("wrong-token" not in f"{one.path}{one.query}" for one in trello_server.requests)


async def test_description_of_a_large_body_fits_and_ends_with_the_key(trello_server, make_life):
    life = make_life(integrations.TrelloCardCreatorTask, b"x" * 100_000)
    life.may_repeat = True

    await life.go_on()

    (card,) = trello_server.cards
    assert len(card["desc"]) <= 16_384
    assert card["desc"].rpartition("\n")[2].startswith("mlg-")
