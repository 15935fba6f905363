import os
import signal
import subprocess

from mulligan.worker.child import deaf

MODULE = """
import sys
print("importing", flush=True)
sys.stdin.readline()

def main():
    print(sys.argv[1:], flush=True)
"""


def test_process_is_not_ended_by_ctrl_c_while_it_imports(tmp_path):
    (tmp_path / "slow.py").write_text(MODULE)
    process = subprocess.Popen(
        deaf("slow", "7", "8"), cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"

    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate("\n", timeout=60)

    assert (process.returncode, told) == (0, "['7', '8']\n")
