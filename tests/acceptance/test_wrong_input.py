"""What a person gets wrong: a clear text and exit code 2, or a refusal; never a traceback."""

import os
import shutil
import subprocess

import pytest

GOOD = """
    class Good(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""
HEAD = "<tasks>\n  <task>\n    <filename>work</filename>\n    <classname>Good</classname>\n"
TAIL = "\n  </task>\n</tasks>\n"
DEFAULT = "    <default>false</default>"

BROKEN = {
    "no XML": ("<tasks>\n  <task>\n</tasks>", ("line 3",)),
    "unknown element": (HEAD + DEFAULT + "\n    <retries>3</retries>" + TAIL, ("line 6", "retries")),
    "class not in the file": (
        (HEAD + DEFAULT + TAIL).replace("Good", "God"), ("tasks.xml line 2", "God", "Good"),
    ),
    "file not in the folder": ((HEAD + DEFAULT + TAIL).replace("work", "wrok"), ("tasks.xml line 2", "wrok", "work")),
    "default is neither": (HEAD + "    <default>maybe</default>" + TAIL, ("line 5", "maybe", "true")),
    "no default": (HEAD + TAIL, ("line 2", "default")),
    "the same task twice": (
        HEAD + DEFAULT + "\n  </task>\n  <task>\n    <filename>work</filename>\n    <classname>Good</classname>\n"
        + DEFAULT + TAIL,
        ("line 9", "Good", "line 4"),
    ),
    "DOCTYPE": (
        '<!DOCTYPE tasks [<!ENTITY a "b">]>\n' + HEAD + DEFAULT + TAIL, ("line 1", "DOCTYPE"),
    ),
    "a file outside the folder": (
        (HEAD + DEFAULT + TAIL).replace("work", "../../etc/passwd"), ("line 3", "../../etc/passwd"),
    ),
    "attempts is not a number": (HEAD + DEFAULT + "\n    <attempts>many</attempts>" + TAIL, ("line 6", "many")),
    "another root": ("<jobs></jobs>", ("line 1", "jobs", "tasks")),
    "empty": ("", ("empty",)),
}  # fmt: skip


@pytest.fixture
def good(app):
    app.task("work", GOOD)
    app.manifest("work Good")
    return app


def refused(app, *arguments, **settings) -> str:
    """What `python main.py` says when it does not start."""
    system = app.start(*arguments, **settings)
    code = system.wait()
    log = system.log()
    assert code == 2, log
    assert "Traceback" not in log
    assert "error: " in log
    assert system.group() == []
    return log


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_tasks_xml_is_told_with_its_line(good, kind):
    text, words = BROKEN[kind]
    (good.folder / "tasks.xml").write_text(text)

    told = refused(good)

    for word in ("tasks.xml", *words):
        assert word in told


def test_no_queue_is_made_for_tasks_that_cannot_be_used(good):
    (good.folder / "tasks.xml").write_text("<tasks>")

    refused(good)

    assert not (good.folder / "var" / "mulligan.db").exists()


def test_every_problem_of_tasks_xml_and_tasks_is_told_at_once(good):
    good.task("other", "class Other(Task):\n    max_attempts = 0\n    def run(self, data):\n        pass\n")
    good.manifest("work Good", "wrok Good2", "work Missing", "other Other")

    told = refused(good)

    assert all(word in told for word in ("wrok", "Missing", "max_attempts"))
    assert "3 problems" in told


def test_task_file_with_a_syntax_error_is_told_with_its_line(good):
    (good.folder / "tasks" / "work.py").write_text("from mulligan import Task\n\nclass Good(Task)\n    pass\n")

    told = refused(good)

    assert "tasks/work.py line 3" in told
    assert "class Good(Task)" in told


def test_task_file_that_ends_the_process_is_told(good):
    good.task("work", "os._exit(0)\n")

    told = refused(good)

    assert "died while it loaded them" in told


def test_unknown_setting_of_the_environment_is_told_with_the_right_one(good):
    told = refused(good, POOLSIZE=3)

    assert "MULLIGAN_POOLSIZE" in told
    assert "POOL_SIZE" in told


def test_unknown_setting_of_the_configuration_file_is_told(good):
    with (good.folder / "config" / "configuration.py").open("a") as file:
        file.write("\nCOMMON_PREFX = 'x'\n")

    told = refused(good)

    assert "config/configuration.py" in told
    assert "COMMON_PREFX" in told
    assert "COMMON_PREFIX" in told


def test_pool_size_of_zero_is_told(good):
    told = refused(good, POOL_SIZE=0)

    assert "POOL_SIZE" in told
    assert "0" in told


def test_configuration_with_a_syntax_error_is_told(good):
    (good.folder / "config" / "configuration.py").write_text("COMMON_PREFIX = 'a\n")

    told = refused(good)

    assert "config/configuration.py" in told
    assert "line 1" in told


@pytest.mark.parametrize(("name", "setting"), [("mulligan.db", "BROKER_URL"), ("ledger.db", "LEDGER_URL")])
def test_database_that_is_a_text_file_is_refused(good, name, setting):
    (good.folder / "var").mkdir()
    (good.folder / "var" / name).write_text("this is not a database, but a note of mine\n" * 200)

    system = good.start()

    assert system.wait() == 2
    assert "Traceback" not in system.log()
    assert f"var/{name}" in system.log()
    assert (good.folder / "var" / name).read_text().startswith("this is not a database"), (
        f"{setting} names a file of others"
    )


def test_unknown_kind_of_broker_is_told(good):
    told = refused(good, BROKER_URL="kafka://there")

    assert "kafka" in told


def test_folder_that_is_read_only_is_told(good):
    mount = shutil.which("unshare") and shutil.which("mount")
    here = str(good.folder)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, here)
    if not mount or subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a read-only mount takes unshare and the right to mount: run the tests as root")

    system = good.start(before=before)

    assert system.wait() == 2, system.log()
    assert "Traceback" not in system.log()
    assert "var" in system.log()
    assert "Read-only file system" in system.log()


def test_body_of_300_mb_is_refused_without_being_read_into_memory(good):
    path = good.folder / "huge.txt"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)

    told = good.cli("send", f"@{path}")

    assert told.returncode == 2
    assert "the body has 314,572,800 bytes" in told.stderr
    assert "Traceback" not in told.stderr
    assert good.waiting("requests") == 0


def test_lines_beside_a_body_of_300_mb_are_sent(good):
    path = good.folder / "huge.txt"
    path.write_bytes(b"first\n")
    with path.open("r+b") as file:
        file.truncate(300 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")

    told = good.cli("send", f"@{path}")

    assert told.returncode == 3
    assert "line 2" in told.stderr
    assert good.waiting("requests") == 2


def test_folder_without_an_application_is_told(tmp_path, good):
    bare = tmp_path / "bare"
    bare.mkdir()
    good.folder = bare
    shutil.copy(tmp_path / "app" / "main.py", bare)

    told = refused(good)

    assert "tasks" in told
