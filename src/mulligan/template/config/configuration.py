"""The settings of this application.

Every one can be overridden by an environment variable MULLIGAN_<NAME>, e.g. MULLIGAN_POOL_SIZE=2. What is commented
out shows its default. `mulligan settings` prints every value and where it came from. Relative paths are relative to
the folder of the application, which is the current directory.
"""

# -- Queues

# What the names of the three queues begin with. Applications that share a broker must differ in it.
COMMON_PREFIX = "msgparser"

# Names of the three queues. Set one only if the queue has another name already.
# New messages:
# REQUESTS_QUEUE = "msgparser-requests-q"
# Messages with a task that failed and is tried again. No other program may use it; it is not a dead-letter queue:
# REJECTS_QUEUE = "msgparser-rejects-q"
# Messages that could not be done; a person looks at them, and replays them:
# DEAD_QUEUE = "msgparser-dead-q"

# Where the queues are: sqlite:///FILE is the embedded queue.
BROKER_URL = "sqlite:///var/mulligan.db"

# Where the progress of messages is recorded, so that a crash repeats nothing that was done. "none": no record, and a
# crash may repeat tasks.
LEDGER_URL = "sqlite:///var/ledger.db"

# Create queues that are missing when the system starts. False: a missing queue is a problem.
# CREATE_QUEUES = True

# Seconds that a received message is ours before another worker may get it. It is extended while the message's tasks
# run, so it bounds how soon the messages of a dead machine run again, not how long a task may take.
# LEASE_S = 60

# -- Consumers

# Consumers of the requests queue.
NO_OF_REQUESTS_CONSUMERS = 3

# Consumers of the rejects queue.
NO_OF_REJECTS_CONSUMERS = 2

# Worker processes, over which the consumers are dealt out. Fewer than consumers is fine: all of them are served.
POOL_SIZE = 5

# Messages that one consumer works on at once: three consumers of requests with ten each make 30 messages at once.
CONCURRENCY = 10

# A crash repeats the tasks whose results were not recorded yet. At most this many results may await recording before
# another attempt begins; 0: no limit. 5 halves the rate of tasks that take a few milliseconds.
# MAX_UNRECORDED_RESULTS = 0

# Seconds from the signal to stop to the end. Running tasks get all but 5 of them, at least half.
# SHUTDOWN_S = 25

# -- Tasks (a task, and tasks.xml, can say it for themselves)

# The file that lists the tasks. If there is none, every Task class in the files of the folder tasks is taken.
TASKS_XML_FILE = "tasks.xml"

# Attempts of a task, the first one included: 2 is one try from requests and one from rejects.
TASK_MAX_ATTEMPTS = 2

# Longest wait before the second attempt, in seconds (the shortest is half of it). It doubles for each later one.
TASK_BACKOFF_S = 10

# Seconds that one attempt of a task may take.
TASK_TIMEOUT_S = 60

# What happens to a message that no task accepts: "dead_letter" makes it a dead letter, "drop" removes it.
# ON_UNROUTED = "dead_letter"

# -- Log

# Name of the program in JSON log lines.
LOGGER_NAME = "mulligan"

# File for the log, besides stderr, e.g. "var/mulligan.log". It is renamed and begun anew at 10 MiB. None: stderr only.
LOG_FILE = None

# Least level that is logged: "DEBUG", "INFO", "WARNING" or "ERROR".
LOG_LEVEL = "INFO"

# "text": one sentence a line. "json": one object a line, for machines.
LOG_FORMAT = "text"
