import pytest

from mulligan.tasks.unlisted import Unlisted, unlisted


def found(app) -> list[tuple[str, str]]:
    return [(one.file, one.class_name) for one in unlisted(app.folder, "tasks.xml")]


@pytest.fixture
def listed(app):
    app.file("one", "class One(Task):\n    async def run(self, data): ...")
    app.manifest("one One")
    return app


def test_unlisted_names_a_task_that_was_dropped_into_the_folder_only(listed):
    (listed.folder / "tasks" / "order.py").write_text(
        "from mulligan import Task\n\n\nclass ShipOrder(Task):\n    async def run(self, data): ...\n"
    )

    assert unlisted(listed.folder, "tasks.xml") == [Unlisted("tasks/order.py", "ShipOrder")]


@pytest.mark.parametrize(
    "code",
    [
        "import mulligan\nclass Two(mulligan.Task): ...",
        "import mulligan as m\nclass Two(m.Task): ...",
        "from mulligan import Task as Job\nclass Two(Job): ...",
        "from mulligan import integrations\nclass Two(integrations.JiraIssueCreatorTask): ...",
        "from mulligan.integrations import JiraIssueCreatorTask\nclass Two(JiraIssueCreatorTask): ...",
        "import mulligan.integrations\nclass Two(mulligan.integrations.JiraIssueCreatorTask): ...",
        "from mulligan import Task\nclass _Base(Task): ...\nclass Two(_Base, object): ...",
        "from tasks.base import Shop\nclass Two(Shop): ...",
        "from .base import Shop\nclass Two(Shop): ...",
        "from tasks import base\nclass Two(base.Shop): ...",
    ],
)
def test_unlisted_knows_a_task_however_it_got_its_base(listed, code):
    listed.file("base", "class Shop(Task):\n    async def run(self, data): ...")
    (listed.folder / "tasks" / "two.py").write_text(code)
    is_users = "Shop" in code

    assert found(listed) == [*([] if is_users else [("tasks/base.py", "Shop")]), ("tasks/two.py", "Two")]


@pytest.mark.parametrize(
    "code",
    [
        "class Two: ...",
        "from celery import Task\nclass Two(Task): ...",
        "import mulligan\nclass Two(mulligan.Message): ...",
        "from mulligan import Task\nclass _Two(Task): ...",
        "from abc import abstractmethod\nfrom mulligan import Task\n"
        "class Two(Task):\n    @abstractmethod\n    def run(self, data): ...",
        "class Two(Two): ...",
        "def broken(:",
        "x = '\0'",
    ],
)
def test_unlisted_is_silent_about_what_is_no_task(listed, code):
    (listed.folder / "tasks" / "two.py").write_text(code)

    assert found(listed) == []


def test_unlisted_is_silent_about_an_entry_in_a_comment_of_the_manifest(listed):
    listed.file("two", "class Two(Task):\n    async def run(self, data): ...")
    manifest = listed.folder / "tasks.xml"
    manifest.write_text(manifest.read_text() + "<!-- <task><classname>Two</classname></task> -->")

    assert found(listed) == []


def test_unlisted_is_silent_without_a_manifest_since_all_are_taken(listed):
    (listed.folder / "tasks.xml").unlink()

    assert found(listed) == []


def test_unlisted_runs_no_code_of_the_files(listed):
    (listed.folder / "tasks" / "two.py").write_text("open('ran', 'w')\nraise SystemExit\n")

    assert found(listed) == []
    assert not (listed.folder / "ran").exists()
