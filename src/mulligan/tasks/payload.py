"""From a body to what a task's `run` takes, by the annotation of its first parameter.

Made once per task, at start, so that a type that can't be read is a problem before any message is there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mulligan.core.message import Message
from mulligan.tasks.encoding import decoded
from mulligan.tasks.exceptions import PayloadError
from mulligan.tasks.text import cut

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["JSON_MAX_BYTES", "converter"]

JSON_MAX_BYTES = 16 * 1024 * 1024
"""Above this a body is not parsed: 16 MiB of `[[],[],...` already become half a gigabyte of objects."""

ERRORS_SHOWN = 5
ERRORS_LISTED_MAX = 1000  # pydantic can only list all of its errors: a list of a million wrong items takes gigabytes
TEXT_MAX = 200


def converter(annotation: Any) -> Callable[[Message], Any]:
    """The function that makes the payload of a message. What it raises is a `PayloadError`, or comes from user code.

    annotation: of the first parameter, not as a string; None-type annotations are JSON as well.
    Raises what pydantic raises when it can't handle the type.
    """
    import inspect

    if annotation in (inspect.Parameter.empty, str, Any, object):
        return _text
    if annotation is bytes:
        return _body
    if annotation is Message:
        return _message
    return _json_converter(annotation)


def _text(message: Message) -> str:
    body = decoded(message)
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise PayloadError(
            f"the body is not UTF-8 text: byte {exc.start} of {len(body)} can't be decoded ({exc.reason}). "
            "Take it with run(self, data: bytes)."
        ) from None


def _body(message: Message) -> bytes:
    return message.body


def _message(message: Message) -> Message:
    return message


def _json_converter(annotation: Any) -> Callable[[Message], Any]:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=True)
    validate = adapter.validate_json
    name = getattr(annotation, "__name__", None) or str(annotation)

    def convert(message: Message) -> Any:
        body = decoded(message)
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        if len(body) > JSON_MAX_BYTES:
            raise PayloadError(f"the body has {len(body)} bytes, JSON is read up to {JSON_MAX_BYTES}")
        if b"NaN" in body or b"Infinity" in body:
            _refuse_non_numbers(body)
        try:
            return validate(body)
        except ValidationError as exc:
            raise PayloadError(_described(exc, name)) from None
        except RecursionError:
            raise PayloadError(f"the body is not a valid {name}: it is nested too deep") from None

    return convert


def _refuse_non_numbers(body: bytes) -> None:
    """Refuse NaN and Infinity outside of strings: they are not JSON, and pydantic would take them."""
    from pydantic_core import from_json

    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        raise PayloadError(f"the body is not JSON: {cut(str(exc), TEXT_MAX)}") from None


def _described(exc: "ValidationError", name: str) -> str:
    """The fields that are wrong, never what was in them: bodies don't belong in logs."""
    count = exc.error_count()
    if count > ERRORS_LISTED_MAX:
        return f"the body is not a valid {name}: {count} of its values are wrong"
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    shown = [_field(error["loc"]) + cut(error["msg"], TEXT_MAX) for error in errors[:ERRORS_SHOWN]]
    if count > ERRORS_SHOWN:
        shown.append(f"and {count - ERRORS_SHOWN} more")
    return f"the body is not a valid {name}: " + "; ".join(shown)


def _field(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    return ".".join(cut(str(part), 60) for part in location[:10]) + ": "
