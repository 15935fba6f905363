"""Servers that let other programs' clients talk to mulligan's embedded queue."""
