from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.settings.load import load
from mulligan.telemetry.messages import sentence


def configured(app_dir: Path, text: str) -> Path:
    folder = app_dir / "config"
    folder.mkdir(exist_ok=True)
    (folder / "configuration.py").write_text(text)
    return app_dir


def problems_of(app_dir: Path, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        load(app_dir, environ or {})
    return raised.value.problems


def test_load_gives_the_requests_defaults_when_nothing_is_set(tmp_path):
    loaded = load(tmp_path, {"PATH": "/bin"})

    assert loaded.settings.no_of_requests_consumers == 3
    assert loaded.settings.no_of_rejects_consumers == 2
    assert loaded.settings.pool_size == 5
    assert loaded.settings.queues.all == ("msgparser-requests-q", "msgparser-rejects-q", "msgparser-dead-q")
    assert set(loaded.origins.values()) == {"default"}


def test_load_prefers_the_environment_to_the_file_and_the_file_to_the_default(tmp_path):
    configured(tmp_path, 'COMMON_PREFIX = "shop"\n\nPOOL_SIZE = 4\n')

    loaded = load(tmp_path, {"MULLIGAN_POOL_SIZE": "2"})

    assert loaded.settings.common_prefix == "shop"
    assert loaded.settings.pool_size == 2
    assert loaded.origins["COMMON_PREFIX"] == "config/configuration.py line 1"
    assert loaded.origins["POOL_SIZE"] == "environment variable MULLIGAN_POOL_SIZE"
    assert loaded.origins["CONCURRENCY"] == "default"


def test_load_takes_the_original_programs_names_of_the_queues_and_says_what_they_mean(tmp_path):
    configured(tmp_path, 'MAIN_QUEUE = "in"\n')

    loaded = load(tmp_path, {"MULLIGAN_DEAD_LETTER_QUEUE": "again"})

    assert loaded.settings.queues.all == ("in", "again", "msgparser-dead-q")
    assert loaded.origins["REQUESTS_QUEUE"] == "config/configuration.py line 1"
    assert loaded.origins["REJECTS_QUEUE"] == "environment variable MULLIGAN_DEAD_LETTER_QUEUE"
    assert [sentence(renamed) for renamed in loaded.renamed] == [
        "config/configuration.py line 1: MAIN_QUEUE is an earlier name of REQUESTS_QUEUE, and it is the queue on which "
        "new messages come. It still works; use REQUESTS_QUEUE",
        "environment variable MULLIGAN_DEAD_LETTER_QUEUE: DEAD_LETTER_QUEUE is an earlier name of REJECTS_QUEUE, and "
        "it is the queue of retries, not of dead letters. It still works; use REJECTS_QUEUE",
    ]


@pytest.mark.parametrize(
    ("old", "given", "field", "meant"),
    [
        ("LATENCY_S", "0.25", "receive_linger_s", 0.25),
        ("UNRECORDED_MAX", "7", "max_unrecorded_results", 7),
        ("UNROUTED", "drop", "on_unrouted", "drop"),
        ("RUN_FILE", "var/last.json", "run_stats_file", "var/last.json"),
    ],
)
def test_load_takes_an_earlier_name_of_a_setting_and_warns_once(tmp_path, old, given, field, meant):
    loaded = load(tmp_path, {f"MULLIGAN_{old}": given})

    assert getattr(loaded.settings, field) == meant
    assert [(one.old, one.name) for one in loaded.renamed] == [(old, field.upper())]


def test_load_warns_once_when_name_and_value_of_a_setting_are_both_earlier_ones(tmp_path):
    """UNROUTED = "bury" was reported twice."""
    configured(tmp_path, 'UNROUTED = "bury"\n')

    loaded = load(tmp_path, {})

    assert loaded.settings.on_unrouted == "dead_letter"
    assert [(one.old, one.name) for one in loaded.renamed] == [("UNROUTED=bury", "ON_UNROUTED=dead_letter")]


def test_load_refuses_an_earlier_name_of_a_setting_that_contradicts_the_present_one(tmp_path):
    configured(tmp_path, 'UNROUTED = "bury"\n')

    (problem,) = problems_of(tmp_path, {"MULLIGAN_ON_UNROUTED": "drop"})

    assert "UNROUTED is 'bury', and ON_UNROUTED is 'drop' (environment variable MULLIGAN_ON_UNROUTED)" in problem
    assert problem.endswith("Keep ON_UNROUTED, and remove UNROUTED.")


@pytest.mark.parametrize(("old", "now"), [("hold", "block_group"), ("sidestep", "continue_group")])
def test_load_takes_an_earlier_value_of_a_setting_and_warns(tmp_path, old, now):
    configured(tmp_path, f'FIFO_ON_FAILURE = "{old}"\n')

    loaded = load(tmp_path, {})

    assert loaded.settings.fifo_on_failure == now
    assert [(one.old, one.name) for one in loaded.renamed] == [(f"FIFO_ON_FAILURE={old}", f"FIFO_ON_FAILURE={now}")]


def test_load_takes_the_same_value_under_both_names_of_a_setting(tmp_path):
    configured(tmp_path, 'RECEIVE_LINGER_S = 0.5\nON_UNROUTED = "dead_letter"\n')

    loaded = load(tmp_path, {"MULLIGAN_LATENCY_S": "0.5", "MULLIGAN_UNROUTED": "bury"})

    assert (loaded.settings.receive_linger_s, loaded.settings.on_unrouted) == (0.5, "dead_letter")


def test_load_says_nothing_of_first_names_when_only_the_present_ones_are_used(tmp_path):
    configured(tmp_path, 'REQUESTS_QUEUE = "in"\nMAIN_QUEUE = None\n')

    loaded = load(tmp_path, {"MULLIGAN_REJECTS_QUEUE": "again", "MULLIGAN_DEAD_LETTER_QUEUE": ""})

    assert loaded.settings.queues.all == ("in", "again", "msgparser-dead-q")
    assert loaded.renamed == ()


def test_load_refuses_two_names_of_one_queue_that_differ(tmp_path):
    configured(tmp_path, 'REJECTS_QUEUE = "again"\n')

    problems = problems_of(tmp_path, {"MULLIGAN_DEAD_LETTER_QUEUE": "orders-dlq"})

    assert problems == (
        (
            "environment variable MULLIGAN_DEAD_LETTER_QUEUE: DEAD_LETTER_QUEUE is 'orders-dlq', and REJECTS_QUEUE is "
            "'again' (config/configuration.py line 1). They are two names for one setting: it is the queue of retries, "
            "not of dead letters. Keep REJECTS_QUEUE, and remove DEAD_LETTER_QUEUE."
        ),
    )


def test_load_takes_two_names_of_one_queue_that_agree(tmp_path):
    loaded = load(tmp_path, {"MULLIGAN_MAIN_QUEUE": "in", "MULLIGAN_REQUESTS_QUEUE": "in"})

    assert loaded.settings.queues.requests == "in"
    assert [renamed.old for renamed in loaded.renamed] == ["MAIN_QUEUE"]


def test_load_takes_a_first_name_where_the_present_one_stands_for_the_default(tmp_path):
    configured(tmp_path, 'REQUESTS_QUEUE = None\nMAIN_QUEUE = "in"\n')

    loaded = load(tmp_path, {})

    assert loaded.settings.queues.requests == "in"


def test_load_names_a_wrong_value_by_the_name_that_was_written(tmp_path):
    (problem,) = problems_of(tmp_path, {"MULLIGAN_MAIN_QUEUE": "two words"})

    assert problem.startswith("environment variable MULLIGAN_MAIN_QUEUE: MAIN_QUEUE is 'two words', expected None or a")


def test_load_hints_at_a_first_name_in_lower_case(tmp_path):
    configured(tmp_path, 'main_queue = "in"\n')

    assert problems_of(tmp_path) == (
        "config/configuration.py line 1: settings are written in upper case. Write MAIN_QUEUE for main_queue.",
    )


def test_load_does_not_take_what_all_variables_begin_with_for_a_likeness(tmp_path):
    """For MULLIGAN_PROT it asked whether MULLIGAN_ON_UNROUTED was meant."""
    assert problems_of(tmp_path, {"MULLIGAN_PROT": "80", "MULLIGAN_LEASE": "9"}) == (
        "environment variable MULLIGAN_LEASE: there is no such setting. Did you mean MULLIGAN_LEASE_S? Correct or "
        "unset it; `mulligan settings` lists all.",
        "environment variable MULLIGAN_PROT: there is no such setting. Correct or unset it; `mulligan settings` lists "
        "all.",
    )


def test_load_tells_every_problem_at_once_with_place_value_and_expectation(tmp_path):
    configured(tmp_path, "POOL_SIZE = 0\nLEASE_S = 'long'\nPOOLSIZE = 3\n")

    problems = problems_of(tmp_path, {"MULLIGAN_LOG_FORMAT": "xml", "MULLIGAN_CONCURENCY": "5"})

    assert problems == (
        (
            "config/configuration.py line 3: POOLSIZE is not a setting. Did you mean POOL_SIZE? "
            "Correct or remove it; a name of your own begins with '_'."
        ),
        (
            "environment variable MULLIGAN_CONCURENCY: there is no such setting. Did you mean MULLIGAN_CONCURRENCY? "
            "Correct or unset it; `mulligan settings` lists all."
        ),
        (
            "config/configuration.py line 2: LEASE_S is 'long', expected a number of seconds from 1 to 43,200. "
            "Correct it, or remove it for the default 60.0."
        ),
        (
            "config/configuration.py line 1: POOL_SIZE is 0, expected a whole number from 1 to 1,000. "
            "Correct it, or remove it for the default 5."
        ),
        (
            "environment variable MULLIGAN_LOG_FORMAT: LOG_FORMAT is 'xml', expected one of 'auto', 'text', 'json'. "
            "Correct it, or remove it for the default 'auto'."
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X = (\n", "config/configuration.py line 1: '(' was never closed. Correct the Python there."),
        (
            "\nPOOL_SIZE = 1 / 0\n",
            "config/configuration.py line 2: it raised ZeroDivisionError: division by zero. Correct the line.",
        ),
        ("raise SystemExit(3)\n", "config/configuration.py line 1: it raised SystemExit: 3. Correct the line."),
        (
            "try:\n    {}['URL']\nexcept KeyError:\n    raise RuntimeError('no URL')\n",
            "config/configuration.py line 4: it raised RuntimeError: no URL; while handling KeyError: 'URL'. "
            "Correct the line.",
        ),
        (
            "import shop\n",
            "config/configuration.py line 1: it raised ModuleNotFoundError: No module named 'shop'. Correct the line.",
        ),
        (
            "pool_size = 3\n",
            "config/configuration.py line 1: settings are written in upper case. Write POOL_SIZE for pool_size.",
        ),
    ],
)
def test_load_names_the_line_when_the_file_is_wrong(tmp_path, text, expected):
    configured(tmp_path, text)

    assert problems_of(tmp_path) == (expected,)


def test_load_refuses_a_file_with_null_bytes_without_a_traceback(tmp_path):
    configured(tmp_path, "POOL_SIZE = 3\0\n")

    (problem,) = problems_of(tmp_path)

    assert problem.startswith("config/configuration.py")


def test_load_refuses_a_folder_in_the_files_place(tmp_path):
    (tmp_path / "config" / "configuration.py").mkdir(parents=True)

    (problem,) = problems_of(tmp_path)

    assert problem == "config/configuration.py can't be read: Is a directory. Make it a readable file, or remove it."


def test_load_leaves_the_import_path_as_it_was(tmp_path, monkeypatch):
    import sys

    configured(tmp_path, "from neighbour_of_config import SIZE as _size\nPOOL_SIZE = _size\n")
    (tmp_path / "neighbour_of_config.py").write_text("SIZE = 7\n")
    before = list(sys.path)

    loaded = load(tmp_path, {})

    assert loaded.settings.pool_size == 7
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "neighbour_of_config")


@pytest.mark.parametrize("given", ["0", "-1", "2.5", "five", "", "99999999999999999999999", "nan"])
def test_load_refuses_pool_sizes_that_are_none(tmp_path, given):
    (problem,) = problems_of(tmp_path, {"MULLIGAN_POOL_SIZE": given})

    assert problem.startswith(
        f"environment variable MULLIGAN_POOL_SIZE: POOL_SIZE is {given!r}, expected a whole number"
    )


@pytest.mark.parametrize("given", ["True", "[]", "float('nan')", "float('inf')", "object()"])
def test_load_refuses_leases_that_are_no_number(tmp_path, given):
    configured(tmp_path, f"LEASE_S = {given}\n")

    (problem,) = problems_of(tmp_path)

    assert "expected a number of seconds from 1 to 43,200" in problem


def test_load_hides_passwords_in_problems(tmp_path):
    configured(tmp_path, "BROKER_URL = ['amqp://me:s3cret/@host/']\n")

    (problem,) = problems_of(tmp_path)

    assert "s3cret" not in problem
    assert "amqp://me:***@host/" in problem


def test_load_refuses_one_name_for_two_queues(tmp_path):
    problems = problems_of(tmp_path, {"MULLIGAN_REQUESTS_QUEUE": "msgparser-dead-q"})

    assert problems == (
        (
            "REQUESTS_QUEUE, REJECTS_QUEUE and DEAD_QUEUE are 'msgparser-dead-q', 'msgparser-rejects-q', "
            "'msgparser-dead-q': the three queues need three names. Give each its own, or remove them to follow "
            "COMMON_PREFIX."
        ),
    )


def test_load_refuses_a_first_wait_above_the_longest(tmp_path):
    (problem,) = problems_of(tmp_path, {"MULLIGAN_TASK_BACKOFF_S": "50", "MULLIGAN_TASK_BACKOFF_MAX_S": "5"})

    assert problem.startswith("TASK_BACKOFF_S is 50 and TASK_BACKOFF_MAX_S is 5")


def test_load_lets_the_documented_other_variables_pass(tmp_path):
    loaded = load(tmp_path, {"MULLIGAN_DEBUG": "1", "MULLIGAN_FAILPOINT": "acked:1:kill"})

    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("debug", "DEBUG"), ("10", None), ("Warn", "WARNING"), ("CRITICAL", "ERROR")],
)
def test_load_takes_the_log_levels_that_people_write(tmp_path, given, expected):
    if expected is None:
        assert len(problems_of(tmp_path, {"MULLIGAN_LOG_LEVEL": given})) == 1
    else:
        assert load(tmp_path, {"MULLIGAN_LOG_LEVEL": given}).settings.log_level == expected


def test_load_takes_the_numbers_of_logging_from_the_file(tmp_path):
    configured(tmp_path, "import logging\nLOG_LEVEL = logging.WARNING\n")

    assert load(tmp_path, {}).settings.log_level == "WARNING"


def test_load_splits_names_at_commas_in_the_environment(tmp_path):
    loaded = load(tmp_path, {"MULLIGAN_LISTENERS": "shop.ears:hear, shop.ears:also"})

    assert loaded.settings.listeners == ("shop.ears:hear", "shop.ears:also")


def test_load_takes_an_empty_log_file_as_none(tmp_path):
    configured(tmp_path, "LOG_FILE = 'var/x.log'\n")

    assert load(tmp_path, {"MULLIGAN_LOG_FILE": ""}).settings.log_file is None


def test_load_refuses_a_url_where_a_folder_of_bodies_is_expected(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {"MULLIGAN_BODIES_URL": "s3://bucket"})

    assert caught.value.problems == (
        "environment variable MULLIGAN_BODIES_URL: BODIES_URL is 's3://bucket', expected a folder's path. "
        "Correct it, or remove it for the default 'var/bodies'.",
    )


@pytest.mark.parametrize(
    "text", ["arn:aws:sqs:eu-west-1:123456789012:orders", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"]
)
def test_load_takes_a_queue_by_url_or_arn_and_calls_it_by_its_name(tmp_path, text):
    environ = {"MULLIGAN_REQUESTS_QUEUE": text, "MULLIGAN_BROKER_URL": "sqs://eu-west-1"}

    queues = load(tmp_path, environ).settings.queues

    assert queues.all == ("orders", "msgparser-rejects-q", "msgparser-dead-q")
    assert [(locator.name, locator.region, locator.account) for locator in queues.locators] == [
        ("orders", "eu-west-1", "123456789012")
    ]


def test_load_refuses_an_arn_where_the_broker_is_not_sqs(tmp_path):
    (problem,) = problems_of(tmp_path, {"MULLIGAN_REQUESTS_QUEUE": "arn:aws:sqs:eu-west-1:123456789012:orders"})

    assert " is a URL or an ARN (orders), and BROKER_URL is" in problem
    assert "only SQS queues have those. Write the name alone, or set BROKER_URL to sqs://REGION" in problem
