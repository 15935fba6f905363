"""A look for AWS keys that hangs, as a credential_process does whose service answers nothing: it holds up no end."""

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.harness.sqs import MULLIGAN


@pytest.fixture
def keys_from(app, sqs, tmp_path):
    """Has the application get its keys from a shell script."""

    def make(code: str) -> None:
        script, config = tmp_path / "keys.sh", tmp_path / "config"
        script.write_text(f"#!/bin/sh\n{code}\n")
        script.chmod(0o755)
        config.write_text(f"[default]\ncredential_process = {script}\n")
        sqs.point(app)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del app.environment[name]
        app.environment |= {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        }
        app.task("work", "    class Only(Task):\n        async def run(self, data, context): pass\n")
        app.manifest("work Only")
        app.settings |= {"POOL_SIZE": 1, "SHUTDOWN_S": 4}

    return make


@pytest.fixture
def hang(keys_from, tmp_path):
    """Has every look for keys hang. Gives a path that is there once one is under way."""
    began = tmp_path / "began"
    keys_from(f"touch {began}; exec sleep 300")
    return began


@pytest.mark.usefixtures("at_terminal")
def test_status_ends_on_ctrl_c_when_the_look_for_keys_hangs(app, hang, until):
    with subprocess.Popen(
        [MULLIGAN, "status"], cwd=app.folder, env=app._environment({}), stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as status:  # fmt: skip
        try:
            until(hang.exists, "the look for keys is under way")

            status.send_signal(signal.SIGINT)

            assert status.wait(10) == 130
        finally:
            os.killpg(status.pid, signal.SIGKILL)


def test_run_tells_of_a_look_for_keys_that_hangs_and_ends_at_sigterm(app, hang, until):
    system = app.start()
    until(hang.exists, "the look for keys is under way")
    until(lambda: "the search for AWS credentials takes 5 s so far" in system.log(), "that is told")

    system.terminate()

    assert system.wait(10) == 0


def test_run_goes_on_and_ends_in_time_when_the_renewal_of_keys_hangs(app, keys_from, tmp_path, until):
    """The stop took 32 s, and whoever waits for it less kills the worker."""
    expires = datetime.now(UTC) + timedelta(minutes=12)  # botocore begins to renew 15 minutes ahead
    keys = {"Version": 1, "AccessKeyId": "mulligan", "SecretAccessKey": "mulligan", "Expiration": f"{expires:%FT%TZ}"}
    keys_from(
        f"if [ -e {tmp_path}/$PPID.2 ]; then exec sleep 300; fi\n"  # botocore asks twice at first
        f"if [ -e {tmp_path}/$PPID ]; then touch {tmp_path}/$PPID.2; fi; touch {tmp_path}/$PPID\n"
        f"echo '{json.dumps(keys)}'"
    )
    system = app.start().until_up()
    until(lambda: "The old keys are used until then" in system.log(), "that is told")
    began_at = time.monotonic()

    system.terminate()

    assert system.wait(20) == 0
    assert time.monotonic() - began_at < 9.0
    assert "SIGKILL" not in system.log()


def test_run_ends_in_time_when_the_look_for_keys_hangs_in_a_worker_alone(app, keys_from, tmp_path, until):
    keys = {"Version": 1, "AccessKeyId": "mulligan", "SecretAccessKey": "mulligan"}
    keys_from(
        f"if [ -e {tmp_path}/first ] && [ $(cat {tmp_path}/first) != $PPID ]; then exec sleep 300; fi\n"
        f"echo $PPID > {tmp_path}/first; echo '{json.dumps(keys)}'"
    )
    system = app.start()
    until(lambda: "No queue can be used before that" in system.log(), "that is told")
    began_at = time.monotonic()

    system.terminate()

    assert system.wait(20) == 0
    assert time.monotonic() - began_at < 9.0
    assert "SIGKILL" not in system.log()
