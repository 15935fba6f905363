from mulligan.worker.ipc.exits import describe_exit


def test_told_names_the_exit_code():
    assert describe_exit(3) == "exit code 3"


def test_told_says_exit_code_0_when_a_task_ended_the_process_quietly():
    assert describe_exit(0) == "exit code 0"


def test_told_names_the_signal():
    assert describe_exit(-11) == "signal 11 (SIGSEGV)"


def test_told_gives_the_number_when_the_signal_has_no_name():
    assert describe_exit(-250) == "signal 250"
