"""The contender huey: `python bench/huey_contender.py FILE fill N` or `... drain WORKERS KIND`.

SQLite storage with fsync on, which is the durability of the embedded queue; no results are kept, as ours keeps none.
"""

import sys

from huey import SqliteHuey

huey = SqliteHuey(filename=sys.argv[1], fsync=True, results=False)


@huey.task()
def noop(_: str) -> None:
    return None


def main() -> None:
    if sys.argv[2] == "fill":
        for _ in range(int(sys.argv[3])):
            noop("x" * 300)
        return
    huey.create_consumer(
        workers=int(sys.argv[3]), worker_type=sys.argv[4], periodic=False, initial_delay=0.001, max_delay=0.01
    ).run()


if __name__ == "__main__":
    main()
