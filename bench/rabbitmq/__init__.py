"""mulligan on RabbitMQ, against other consumers on the same server with the same durability.

Quorum queues, persistent messages, publisher confirms, acknowledgements after the work; one process that does the work.
"""
