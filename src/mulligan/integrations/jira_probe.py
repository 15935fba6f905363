"""A look at Jira that changes nothing: token, project, right to create, issue type, and the fields of its screen."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mulligan.integrations.failure import Fault
from mulligan.integrations.http import Reply
from mulligan.tasks.base import Note

__all__ = ["probe"]

Get = Callable[[str, Mapping[str, str | int] | None], Awaitable[Reply]]


async def probe(get: Get, project: str, issue_type: str, url: str, ours: Collection[str]) -> Sequence[str]:
    """What is wrong, as sentences, at the first step that finds anything. ours: ids of fields that the task fills."""
    try:
        return (
            await _of_account(get, url)
            or await _of_project(get, project)
            or await _of_issue_type(get, project, issue_type, ours)
        )
    except Fault as exc:
        return [f"Jira at {url}: {exc.reason}. Is JIRA_SERVER_URL right, and the service reachable from here?"]


async def _of_account(get: Get, url: str) -> list[str]:
    reply = await get("myself", None)
    if reply.status in (401, 403):
        return [
            f"Jira at {url} does not take JIRA_USERNAME with JIRA_PASSWORD ({reply.status}). JIRA_PASSWORD is an API "
            "token, and tokens expire within a year: make a new one (Cloud: id.atlassian.com, Security; a scoped token "
            "needs https://api.atlassian.com/ex/jira/CLOUD_ID as JIRA_SERVER_URL)."
        ]
    if reply.status != 200 or not isinstance(reply.data, dict):
        return [
            f"Jira at {url} answers {reply.status} and no Jira user: {reply.text or '(nothing)'}. Correct "
            "JIRA_SERVER_URL: it is the part before /rest/api."
        ]
    return []


async def _of_project(get: Get, project: str) -> list[str]:
    reply = await get(f"project/{quote(project, safe='')}", None)
    if reply.status == 404:
        return [
            f"Jira has no project {project!r} that this user may see. JIRA_PROJECT_KEY is the part before the dash of "
            "an issue's key, e.g. OPS of OPS-12. Correct it, or give the user access to the project."
        ]
    if reply.status != 200:
        return [_unexpected(reply, f"the project {project!r}")]
    rights = await get("mypermissions", {"projectKey": project, "permissions": "CREATE_ISSUES"})
    permissions = _dict(_dict(rights.data).get("permissions"))
    if _dict(permissions.get("CREATE_ISSUES")).get("havePermission") is False:
        return [
            f"the user may not create issues in the Jira project {project!r}. Have its administrator grant "
            "Create Issues to this user."
        ]
    return []


async def _of_issue_type(get: Get, project: str, issue_type: str, ours: Collection[str]) -> list[str]:
    place = f"issue/createmeta/{quote(project, safe='')}/issuetypes"
    reply = await get(place, {"maxResults": 200})
    if reply.status != 200:
        return [_unexpected(reply, "the issue types")]
    kinds = {str(one.get("name")): str(one.get("id")) for one in _rows(reply, "issueTypes")}
    if issue_type not in kinds:
        return [
            f"the Jira project {project!r} has no issue type {issue_type!r}. JIRA_ISSUE_TYPE must be one of: "
            f"{', '.join(sorted(kinds)) or '(none)'}."
        ]
    reply = await get(f"{place}/{quote(kinds[issue_type], safe='')}", {"maxResults": 200})
    fields = _rows(reply, "fields") if reply.status == 200 else []
    return _of_fields(fields, issue_type, ours)


def _of_fields(fields: Sequence[Mapping[str, Any]], issue_type: str, ours: Collection[str]) -> list[str]:
    ids = {str(one.get("fieldId") or one.get("key")) for one in fields}
    problems: list[str] = []
    needed = [
        str(one.get("name") or one.get("fieldId"))
        for one in fields
        if one.get("required") and not one.get("hasDefaultValue") and (one.get("fieldId") or one.get("key")) not in ours
    ]
    if needed:
        problems.append(
            Note(
                f"the Jira issue type {issue_type!r} needs {', '.join(needed)}. Return them from `fields` in "
                "tasks/jira_issue_creator_task.py if it doesn't yet."
            )
        )
    if ids and "labels" not in ids:
        problems.append(
            Note(
                f"the screen of the Jira issue type {issue_type!r} has no Labels, so the key that tells issues apart "
                "goes into the description. Better: add the field Labels to the screen."
            )
        )
    return problems


def _rows(reply: Reply, name: str) -> list[Mapping[str, Any]]:
    data = _dict(reply.data)
    rows = data.get(name, data.get("values"))  # Cloud's name, Data Center's
    return [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []


def _dict(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, dict) else {}


def _unexpected(reply: Reply, what: str) -> str:
    return f"Jira answers {reply.status} when asked for {what}: {reply.text or '(nothing)'}. Look at it in the browser."
