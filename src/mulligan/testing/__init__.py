"""For tests of your own tasks: `play` takes one message through the real flow, with a fake clock, in no time.

from mulligan.testing import play

def test_greet_is_tried_again_when_the_service_is_busy():
    played = play(Greet, body="hello")

    assert played.is_done
    assert played.attempts_of(Greet) == 2

An async test takes `await play_async(Greet, body="hello")`.
"""

from mulligan.testing.play import Attempted, Played, play, play_async

__all__ = ["Attempted", "Played", "play", "play_async"]
