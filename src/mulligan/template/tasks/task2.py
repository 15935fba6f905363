"""A sample in the old style: a classmethod that gets the text, and returns whether it went well."""

from mulligan import Task


class Task2(Task):
    @classmethod
    def run(cls, data):
        return len(data) > 0
