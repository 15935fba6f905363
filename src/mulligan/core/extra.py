"""How a part of this program that is not installed is installed. Pure.

There is no release yet, and whoever asks an index for the name gets somebody else's program or none: pip takes a clone
of the repository, or a wheel that was built from one.
"""

__all__ = ["install_hint"]

_INSTALL = "pip install 'PATH[{extra}]' (PATH: the clone of mulligan, or its wheel)"
"""The one place to change once there is a release."""


def install_hint(extra: str) -> str:
    """The command for an extra of pyproject.toml: "sqs", "rabbitmq", "postgres", "integrations" or "all"."""
    return _INSTALL.format(extra=extra)
