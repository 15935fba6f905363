import pytest

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.auth.key import Key, Policy, Statement, read

ARN = "arn:aws:sqs:eu-west-1:000000000000:requests"


def test_key_without_permissions_may_do_everything():
    key = Key("id", "secret")

    assert key.may("DeleteQueue", ARN)


def test_key_may_do_only_what_both_its_actions_and_its_policy_allow():
    policy = Policy([Statement("Allow", "sqs:*", "*:requests")])
    key = Key("id", "secret", actions=frozenset({"SendMessage"}), policy=policy)

    assert key.may("SendMessage", ARN)
    assert not key.may("ReceiveMessage", ARN)
    assert not key.may("SendMessage", ARN.replace("requests", "dead"))


def test_policy_treats_other_characters_of_its_patterns_literally():
    policy = Policy([Statement("Allow", "sqs:Send?essage", "arn:aws:sqs:eu.west-1:*:requests")])

    assert policy.allows("sqs:sendmessage", ARN.replace("eu-west", "eu.west"))
    assert not policy.allows("sqs:sendmessage", ARN)


def test_keys_of_a_file_have_actions_with_or_without_the_prefix_sqs(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('[{"id": "a", "secret": "s", "actions": ["sqs:SendMessage", "ReceiveMessage"]}]')

    keys = read(file)

    assert keys == [Key("a", "s", actions=frozenset({"SendMessage", "ReceiveMessage"}))]


@pytest.mark.parametrize(
    ("text", "part"),
    [("[]", "the list of keys is empty"), ("{", "expected a list like"), ('[{"id": "a"}]', "secret")],
)
def test_wrong_file_of_keys_is_refused_with_its_path(tmp_path, text, part):
    file = tmp_path / "keys.json"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"keys\.json") as error:
        read(file)

    assert part in str(error.value)


def test_error_about_a_file_of_keys_does_not_show_its_secrets(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('[{"id": "a", "secret": "hunter2", "actions": "SendMessage"}]')

    with pytest.raises(ConfigurationError) as error:
        read(file)

    assert "hunter2" not in str(error.value)
