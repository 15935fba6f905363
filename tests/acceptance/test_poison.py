"""Messages that kill their worker: buried after three starts, alone; their neighbours lose nothing."""

from typing import Any

import pytest

CODE = """
    class Neighbour(Task):
        def accepts(self, message):
            return message.body != b"poison"

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.1)

    class Poison(Task):
        max_attempts = 5

        def accepts(self, message):
            return message.body == b"poison"

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.01)
                {poison}

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""

KINDS = {
    "exit-0": ("os._exit(0)", "exit code 0"),
    "segfault": ("ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("os.abort()", "SIGABRT"),
}
GOOD = [f"good-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, request) -> Any:
    """One system a kind of poison, all at the same time. Given drained."""
    systems: list[Any] = []
    app_class = request.getfixturevalue("app_class")
    apps = {kind: app_class(tmp_path_factory.mktemp(kind) / "app", systems).lay_out() for kind in KINDS}
    try:
        for kind, app in apps.items():
            app.task("work", CODE.replace("{poison}", KINDS[kind][0]))
            app.manifest("work Neighbour", "work Poison", "work Alert default")
            app.settings |= {"LEASE_S": 5}
            app.send([*GOOD[:5], "poison", *GOOD[5:]])
            app.start("--drain")
        for system in systems:
            assert system.wait(150) == 0, system.log()[-3000:]
        yield {kind: (app, system) for (kind, app), system in zip(apps.items(), systems, strict=True)}
    finally:
        for system in systems:
            system.end()


@pytest.mark.parametrize("kind", KINDS)
def test_message_that_kills_its_worker_is_buried_after_exactly_three_starts(poisoned, kind):
    app, _ = poisoned[kind]

    (letter,) = app.dead()

    assert app.count("Poison", "start") == 3
    assert app.count("Poison", "end") == 0
    assert letter["failed"] == ["Poison"]
    assert "kills its worker" in letter["tasks"]["Poison"]["error"]
    assert KINDS[kind][1] in letter["tasks"]["Poison"]["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_of_a_message_that_kills_its_worker_are_all_done(poisoned, kind):
    app, _ = poisoned[kind]

    starts = [one.body for one in app.effects("Neighbour", "start")]
    assert {one.body for one in app.effects("Neighbour", "end")} == set(GOOD)
    assert max(starts.count(body) for body in GOOD) <= 2, "one repeat is all that the one death may cost"
    assert app.waiting("requests") == app.waiting("rejects") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_default_task_runs_for_the_poison_alone(poisoned, kind):
    app, _ = poisoned[kind]

    assert [one.body for one in app.effects("Alert", "end")] == ["poison"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_one_worker_dies_of_the_poison_when_suspects_run_alone(poisoned, kind):
    _, system = poisoned[kind]

    assert system.log().count(" died: ") == 1
