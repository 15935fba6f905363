"""Variables that Kubernetes sets in each container for the Services of its namespace. They are not settings. Pure.

A Service called mulligan-postgres makes MULLIGAN_POSTGRES_SERVICE_HOST, MULLIGAN_POSTGRES_PORT_5432_TCP_ADDR and so on
(`enableServiceLinks: false` in the pod's spec keeps them away).
"""

import re
from collections.abc import Iterable

__all__ = ["is_service_link", "service_links"]

_LINK = re.compile(
    r"MULLIGAN(_[A-Z0-9_]+?)?_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def is_service_link(name: str) -> bool:
    """Whether a variable of that name is Kubernetes' own."""
    return _LINK.fullmatch(name) is not None


def service_links(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names, sorted."""
    return tuple(sorted(filter(is_service_link, names)))
