"""A message that takes its whole host down, each time: hosts are not lost to it for ever, and no neighbour is."""

from tests.acceptance.harness.app import LONG_S, STARTED_AS

LEASE_S = 2

CODE = f"""
    def others():
        mine = "{STARTED_AS}=" + os.environ["{STARTED_AS}"]
        for name in os.listdir("/proc"):
            try:
                with open("/proc/" + name + "/environ") as file:
                    if mine in file.read().split(chr(0)) and int(name) != os.getpid():
                        yield int(name)
            except (OSError, ValueError):
                continue

    def take_host_down():
        # stopped first: nobody may start another, or tell of an end
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in others():
                os.kill(pid, number)
        os.kill(os.getpid(), signal.SIGKILL)

    class Work(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.3)
                if data == "poison":
                    take_host_down()

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""


def test_poison_that_takes_its_host_down_is_buried_after_four_starts_and_its_neighbours_are_done(app):
    """It was run again for ever, on one host after the other."""
    app.task("work", CODE)
    app.manifest("work Work", "work Alert default")
    app.settings |= {"LEASE_S": LEASE_S, "POOL_SIZE": 2, "CONCURRENCY": 20}
    neighbours = [f"good-{number}" for number in range(12)]
    app.send([*neighbours[:6], "poison", *neighbours[6:]])

    lost = 0
    while (code := app.start("--drain").wait(LONG_S)) != 0:
        lost += 1
        assert code == -9
        assert lost <= 4, "one host after the other is lost"

    assert lost == 4
    starts = [one.body for one in app.effects("Work", "start")]
    assert starts.count("poison") == 4
    assert {one.body for one in app.effects("Work", "end")} == set(neighbours)
    assert [one.body for one in app.effects("Alert", "end")] == ["poison"]
    (letter,) = app.dead()
    assert "nothing was heard of it again, nor of its worker" in str(letter)


def test_poison_that_kills_the_worker_that_runs_it_alone_is_buried_after_three_starts(app):
    """It took one worker down after the other for ever: the process beside it told of no end, and nobody counted."""
    app.task(
        "work",
        """
    class Work(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.05)
                if data == "poison":
                    is_alone = "isolated_process" in open("/proc/self/cmdline").read()
                    os.kill(os.getppid() if is_alone else os.getpid(), signal.SIGKILL)
                    await asyncio.sleep(60)
""",
    )
    app.manifest("work Work")
    app.settings |= {"LEASE_S": LEASE_S, "POOL_SIZE": 1, "CONCURRENCY": 1}
    app.send(["good-1", "poison", "good-2"])

    code = app.start("--drain").wait(LONG_S)

    assert code == 0
    starts = [one.body for one in app.effects("Work", "start")]
    assert starts.count("poison") == 3
    assert {one.body for one in app.effects("Work", "end")} == {"good-1", "good-2"}
    (letter,) = app.dead()
    assert "nothing was heard of it again" in str(letter)
