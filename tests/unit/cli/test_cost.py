from mulligan.cli.cost import summary
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.supervisor.run_stats import RunStats


def test_cost_tells_requests_per_thousand_messages_and_the_price_of_a_million():
    messages = dict.fromkeys(Counter, 0) | {Counter.DONE: 19_900, Counter.BURIED: 100}
    totals = RunStats(0.0, 60.0, messages, {"ReceiveMessage": 2_000, "DeleteMessageBatch": 2_000})

    lines = summary(totals, price_per_million=0.40).splitlines()

    assert lines == [
        "messages   20,000 finished in 60 s",
        "requests   4,000",
        "           2,000 ReceiveMessage",
        "           2,000 DeleteMessageBatch",
        "           200.0 per 1,000 messages",
        "price      0.08 per million messages, at 0.4 per million requests",
    ]


def test_cost_says_that_requests_cost_nothing_on_the_embedded_queue():
    totals = RunStats(0.0, 60.0, dict.fromkeys(Counter, 1), {})

    assert summary(totals, 0.40).splitlines()[1] == "requests   none that cost anything on this broker"
