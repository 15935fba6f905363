"""What a user writes tasks with, and how the files of an application become tasks that a worker can run.

Written by users: `base` (Task), `signal` (Retry, GiveUp, Skip), `context` (TaskContext). At start: `manifest` reads
tasks.xml, `source` imports the files of the tasks folder, `adapter` makes a `LoadedTask` of each class, `loader` does
all of that and gives a `TaskRegistry`. On every message: `registry` routes, `payload` converts, `outcome_of` names the
end.
"""
