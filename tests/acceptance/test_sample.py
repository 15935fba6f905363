"""The repository's own application, from a message to its story, and a dead letter to its good end."""

import json


def test_system_tells_the_stories_of_s_fp_and_fo(samples):
    passes, passes_later, fails = samples.publish("s1"), samples.publish("fp1"), samples.publish("fo1")

    log = samples.drain().log()

    assert f"{passes} is done: 3 tasks" in log
    assert f"{passes_later} Task3 failed (attempt 1 of 2" in log
    assert f"{passes_later} is done: 3 tasks" in log
    assert f"{fails} Task3 failed permanently (attempt 2): RuntimeError: the body begins with fo" in log
    assert f"{fails} is a dead letter now: Task3" in log
    assert f"a task could not be done uid={fails} task=Task4" in log
    assert "stopped: 2 done" in log


def test_status_and_dead_letters_are_shown_after_fo(samples):
    uid = samples.publish("fo1")
    samples.drain()

    status = samples.status()
    (letter,) = samples.dead()
    shown = samples.cli("dead", "show", uid)
    listed = samples.cli("dead", "ls")

    assert status["dead"] | {"oldest_age_s": None} == {
        "name": "msgparser-dead-q", "ready": 1, "delayed": 0, "in_flight": 0, "oldest_age_s": None,
    }  # fmt: skip
    assert status["requests"]["ready"] == status["rejects"]["ready"] == 0
    assert (letter["uid"], letter["failed"], letter["copies"]) == (uid, ["Task3"], 1)
    assert {name: task["attempts"] for name, task in letter["tasks"].items()} == {"Task1": 1, "Task2": 1, "Task3": 2}
    assert shown.returncode == 0
    assert "Task3: failed permanently (2 attempts" in shown.stdout
    assert "RuntimeError: the body begins with fo" in shown.stdout
    assert shown.stdout.endswith("fo1\n")
    assert uid in listed.stdout
    assert "1 dead letter" in listed.stderr


def test_replay_finishes_the_message_without_running_other_tasks_again_when_the_task_was_mended(samples):
    uid = samples.publish("fo1")
    samples.drain()
    mended = (samples.folder / "tasks" / "task3.py").read_text().replace('data.startswith("fo")', "False")
    (samples.folder / "tasks" / "task3.py").write_text(mended)

    replayed = samples.cli("dead", "replay", uid)
    log = samples.drain().log()

    assert (replayed.returncode, replayed.stderr) == (0, "1 dead letter replayed\n")
    assert f"{uid} Task3 succeeded at attempt 1" in log
    assert f"{uid} is done: 3 tasks" in log
    assert not any(f"{task} succeeded" in log or f"task={task}" in log for task in ("Task1", "Task2", "Task4"))
    assert samples.dead() == []


def test_replay_of_all_sends_every_dead_letter_round_again(samples):
    samples.send(["fo1", "fo2", "fo3"])
    samples.drain()
    before = {letter["uid"] for letter in samples.dead()}

    replayed = samples.cli("dead", "replay", "--all")
    samples.drain()

    assert (replayed.returncode, replayed.stderr) == (0, "3 dead letters replayed\n")
    assert {(letter["uid"], letter["generation"]) for letter in samples.dead()} == {(uid, 1) for uid in before}


def test_exit_codes_tell_misuse_from_failure(samples):
    samples.publish("s1")

    codes = {
        arguments: samples.cli(*arguments.split()).returncode
        for arguments in ("status", "dead ls", "dead show 0123", "dead replay", "dead replay 0123", "stauts", "run --x")
    }

    assert codes == {
        "status": 0,
        "dead ls": 0,
        "dead show 0123": 1,
        "dead replay": 2,
        "dead replay 0123": 1,
        "stauts": 2,
        "run --x": 2,
    }


def test_settings_say_where_a_value_came_from(samples):
    told = samples.cli("settings", "--json", POOL_SIZE=7)

    assert told.returncode == 0
    assert "7" in json.dumps(json.loads(told.stdout))
    assert "MULLIGAN_POOL_SIZE" in told.stdout
