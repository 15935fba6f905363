"""mulligan: the error-tolerant message consumer.

What a user writes tasks with is here; the parts are in the subpackages, `core` first.
"""

from mulligan.core.message import Message
from mulligan.core.policy import Backoff
from mulligan.tasks.base import Note, Task
from mulligan.tasks.context import Failure, TaskContext
from mulligan.tasks.exceptions import GiveUp, Retry, Skip

__all__ = ["Backoff", "Failure", "GiveUp", "Message", "Note", "Retry", "Skip", "Task", "TaskContext", "__version__"]

__version__ = "0.1.0"
