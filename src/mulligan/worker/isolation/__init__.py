"""Runs the tasks of crash suspects alone, each in a process of its own."""
