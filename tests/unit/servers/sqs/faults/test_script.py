import pytest

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.faults.script import Cut, Delay, Faults, Rule, Script, Throttle, parse, read


def hits(script, action="SendMessage", count=10, queue="q"):
    faults = Faults(script)
    return [number for number in range(1, count + 1) if faults.active_faults(action, queue)]


def test_rule_hits_the_calls_it_names():
    assert hits(Script((Rule(Throttle(), calls=(2, 5)),))) == [2, 5]


def test_rule_hits_each_so_many_th_call():
    assert hits(Script((Rule(Throttle(), every=4),))) == [4, 8]


def test_rule_is_spent_after_its_times():
    assert hits(Script((Rule(Throttle(), times=3),))) == [1, 2, 3]


def test_rule_is_for_its_action_and_queue_only():
    script = Script((Rule(Throttle(), action="ReceiveMessage", queue="a"),))

    assert hits(script) == []
    assert hits(script, "ReceiveMessage", 2, "b") == []
    assert hits(script, "ReceiveMessage", 2, "a") == [1, 2]


def test_chance_follows_from_the_seed():
    rules = (Rule(Throttle(), chance=0.3),)

    assert hits(Script(rules, seed=1), count=200) == hits(Script(rules, seed=1), count=200)
    assert hits(Script(rules, seed=1), count=200) != hits(Script(rules, seed=2), count=200)
    assert 30 < len(hits(Script(rules, seed=1), count=200)) < 90


def test_all_rules_that_match_apply_together():
    faults = Faults(Script((Rule(Delay(1.0)), Rule(Cut()))))

    assert faults.active_faults("SendMessage", "") == [Delay(1.0), Cut()]


def test_script_is_read_from_json():
    script = parse(
        b'{"seed": 7, "rules": [{"action": "SendMessage", "chance": 0.1, "fault": {"kind": "cut", "when": "before"}}]}',
        "x.json",
    )

    assert script == Script((Rule(Cut("before"), "SendMessage", chance=0.1),), 7)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"{", "x.json: not a fault script"),
        (b'{"rules": [{"fault": {"kind": "fire"}}]}', "fire"),
        (b'{"rules": [{"fault": {"kind": "cut", "when": "later"}}]}', "later"),
        (b'{"rules": [{"fault": {"kind": "cut"}, "chanec": 1}]}', "chanec"),
        (b'{"rules": [{"fault": {"kind": "cut"}, "action": "Fly"}]}', "rule 1 is for the action 'Fly'"),
    ],
)
def test_wrong_script_is_told_with_its_place(text, part):
    with pytest.raises(ConfigurationError, match=r"x\.json") as error:
        parse(text, "x.json")

    assert part in str(error.value)


def test_missing_script_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.json: can't be read"):
        read(tmp_path / "none.json")
