"""Fewer worker processes than consumers, and more: every consumer is served."""

CODE = """
    class Once(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if context.attempt == 1 and data.startswith("once"):
                    raise RuntimeError("the first time")
"""


def test_one_process_serves_both_queues_with_three_and_two_consumers(app):
    app.task("work", CODE)
    app.manifest("work Once")
    app.send([*(f"ok-{number}" for number in range(30)), *(f"once-{number}" for number in range(30))])

    log = app.drain(POOL_SIZE=1, NO_OF_REQUESTS_CONSUMERS=3, NO_OF_REJECTS_CONSUMERS=2).log()

    assert "1 worker, consumers: 3 of requests, 2 of rejects" in log
    assert "30 slots for requests, 20 for rejects" in log
    assert app.count("Once", "end") == 60
    assert len({one.pid for one in app.effects()}) == 1
    assert app.waiting("requests") == app.waiting("rejects") == app.waiting("dead") == 0


def test_no_more_processes_than_consumers_are_started(app, until):
    app.task("work", CODE)
    app.manifest("work Once")
    app.send([f"once-{number}" for number in range(30)])
    system = app.start(POOL_SIZE=20, NO_OF_REQUESTS_CONSUMERS=1, NO_OF_REJECTS_CONSUMERS=1).until_up()

    until(lambda: app.count("Once", "end") == 30, "all messages are done")

    assert len(system.workers()) == 2
    assert "2 workers, consumers: 1 of requests, 1 of rejects" in system.log()
    system.terminate()
    assert system.wait() == 0
