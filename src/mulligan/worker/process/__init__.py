"""The worker process: starts, works, drains, and what it needs of its system."""
