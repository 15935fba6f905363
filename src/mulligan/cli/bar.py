"""The progress bar of a long `mulligan send`, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bar"]

_SHOWN_AFTER_S = 1.0


@contextmanager
def bar(total_bytes: int | None) -> Iterator[Callable[[int, int], None]]:
    """A function that takes (messages confirmed, bytes of the input read) and moves the bar.

    total_bytes: None when the length is not known. The bar comes after a second and is gone at the end.
    """
    progress = Progress(
        TextColumn("sending"),
        BarColumn(),
        TextColumn("{task.fields[sent]:,} sent"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    job = progress.add_task("send", total=total_bytes, sent=0)
    began = progress.get_time()
    is_shown = False

    def show(sent: int, read_bytes: int) -> None:
        nonlocal is_shown
        progress.update(job, completed=read_bytes, sent=sent)
        if not is_shown and progress.get_time() - began > _SHOWN_AFTER_S:
            is_shown = True
            progress.start()

    try:
        yield show
    finally:
        if is_shown:
            progress.stop()
