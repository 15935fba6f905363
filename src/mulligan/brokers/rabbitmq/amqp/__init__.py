"""A client of AMQP 0-9-1: connections, channels, frames. It knows RabbitMQ, and nothing of the program around it.

`frame`, `field_table`, `error`, `parameters` -> `channel` -> `connection`: each imports only those before it. A channel
sees its connection through the protocol `channel.ChannelConnection`.
"""
