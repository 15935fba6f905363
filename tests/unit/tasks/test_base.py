import pytest

from mulligan.core.policy import Backoff


@pytest.mark.parametrize(
    "lines",
    [
        "backoff = lambda attempts: attempts * 2",
        "def backoff(self, attempts): return attempts * 2",
        "@staticmethod\n    def backoff(attempts): return attempts * 2",
        "@classmethod\n    def backoff(cls, attempts): return attempts * 2",
    ],
)
def test_task_backoff_may_be_any_kind_of_function(app, lines):
    task = app.task(f"class One(Task):\n    {lines}\n    def run(self, data): ...")

    assert task.backoff_fn(3) == 6.0
    assert task.policy.backoff == Backoff(10.0, 2.0, 3600.0)


@pytest.mark.parametrize("answer", ["None", "'5'", "-1", "float('nan')", "10 ** 400", "1 / 0"])
def test_task_backoff_function_raises_when_it_gives_no_sensible_time(app, answer):
    task = app.task(f"class One(Task):\n    backoff = lambda attempts: {answer}\n    def run(self, data): ...")

    with pytest.raises((ValueError, ZeroDivisionError)):
        task.backoff_fn(1)


def test_task_backoff_may_be_a_value(app):
    task = app.task("class One(Task):\n    backoff = Backoff(1.0, 3.0, 9.0)\n    def run(self, data): ...")

    assert task.policy.backoff == Backoff(1.0, 3.0, 9.0)
    assert task.backoff_fn is None


def test_task_may_set_its_attributes_when_it_is_made(app):
    task = app.task("class One(Task):\n    def __init__(self): self.max_attempts = 7\n    def run(self, data): ...")

    assert task.policy.max_attempts == 7


def test_task_may_give_up_on_one_class(app):
    task = app.task("class One(Task):\n    give_up_on = KeyError\n    def run(self, data): ...")

    assert task.give_up_on == (KeyError,)


def test_task_takes_every_message_when_accepts_is_not_overridden(app, message):
    task = app.task("class One(Task):\n    def run(self, data): ...")

    assert task.accepts is None


def test_task_accepts_may_be_a_classmethod(app, message):
    task = app.task(
        """
        class One(Task):
            @classmethod
            def accepts(cls, m): return m.body == b"hello"
            def run(self, data): ...
        """
    )

    assert task.accepts(message) is True
