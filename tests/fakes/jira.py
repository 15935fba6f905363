"""A stand-in for Jira: Cloud (v3) and Data Center (v2), with a search index that lags."""

import base64
import re
from typing import Any

from tests.fakes.service import Answer, Request, Service

USER, TOKEN, PROJECT, TYPE = "ops@example.com", "jira-token", "OPS", "Task"


class Jira(Service):
    """issues: all that were created, in order. lag_s: seconds until the search shows one."""

    def __init__(self) -> None:
        super().__init__()
        self.issues: list[dict[str, Any]] = []
        self.lag_s = 0.0
        self.has_labels = True
        self.may_create = True
        self.required: list[str] = []

    def keys(self) -> list[str]:
        """Our key of each issue, from its labels or its description."""
        found = []
        for issue in self.issues:
            text = str(issue["fields"].get("labels", "")) + str(issue["fields"]["description"])
            found.append(re.search(r"mlg-[a-z2-7]{26}", text).group())
        return found

    def handle(self, request: Request) -> Answer:
        match = re.fullmatch(r"/rest/api/([23])/(.+)", request.path)
        if match is None:
            return Answer(404, "<html>not found</html>")
        api, place = match.groups()
        if not self._is_known(request, api):
            return Answer(401, "Client must be authenticated to access this resource.")
        if request.method == "POST" and place == "issue":
            return self._create(request.data, api)
        if request.method == "POST" and place == ("search/jql" if api == "3" else "search"):
            return self._search(request.data)
        if place.startswith("search") and api == "3":
            return Answer(410, {"errorMessages": ["The requested API has been removed."], "errors": {}})
        if request.method == "GET":
            return self._look(request, place, api)
        return Answer(405, "")

    def _is_known(self, request: Request, api: str) -> bool:
        given = request.headers.get("authorization", "")
        basic = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        return given == basic or (api == "2" and given == f"Bearer {TOKEN}")

    def _create(self, data: Any, api: str) -> Answer:
        fields = data["fields"]
        errors: dict[str, str] = {}
        if fields["project"]["key"] != PROJECT:
            errors["project"] = "valid project is required"
        if fields["issuetype"]["name"] != TYPE:
            errors["issuetype"] = "valid issue type is required"
        summary = fields.get("summary", "")
        if not summary or "\n" in summary or len(summary) > 255:
            errors["summary"] = "The summary must be one line of at most 255 characters."
        labels = fields.get("labels")
        if labels is not None and not self.has_labels:
            errors["labels"] = "Field 'labels' cannot be set. It is not on the appropriate screen, or unknown."
        if any(" " in label for label in labels or []):
            errors["labels"] = "The label can't contain spaces."
        described = fields.get("description")
        if not (_is_document(described) if api == "3" else isinstance(described, str)):
            errors["description"] = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
        for name in self.required:
            if name not in fields:
                errors[name] = f"{name} is required."
        if errors:
            return Answer(400, {"errorMessages": [], "errors": errors})
        number = len(self.issues) + 1
        self.issues.append(
            {"id": str(10_000 + number), "key": f"{PROJECT}-{number}", "at": self.now(), "fields": fields}
        )
        issue = self.issues[-1]
        return Answer(
            201, {"id": issue["id"], "key": issue["key"], "self": f"{self.url}/rest/api/3/issue/{issue['id']}"}
        )

    def _search(self, data: Any) -> Answer:
        jql = re.fullmatch(r'project = "(\w+)" AND (?:labels = "([^"]+)"|description ~ "\\"([^"\\]+)\\"")', data["jql"])
        if jql is None:
            return Answer(400, {"errorMessages": [f"Error in the JQL Query: {data['jql']}"], "errors": {}})
        project, label, text = jql.groups()
        shown = [one for one in self.issues if self.now() - one["at"] >= self.lag_s and project == PROJECT]
        if label is not None:
            found = [one for one in shown if label in one["fields"].get("labels", [])]
        else:
            found = [one for one in shown if text in str(one["fields"]["description"])]
        rows = [{"id": one["id"], "key": one["key"]} for one in found[: data.get("maxResults", 50)]]
        return Answer(200, {"issues": rows, "isLast": True})

    def _look(self, request: Request, place: str, api: str) -> Answer:
        if place == "myself":
            return Answer(200, {"accountId": "1", "emailAddress": USER})
        if place == f"project/{PROJECT}":
            return Answer(200, {"key": PROJECT})
        if place.startswith("project/"):
            return Answer(404, {"errorMessages": ["No project could be found with key."], "errors": {}})
        if place == "mypermissions":
            return Answer(200, {"permissions": {"CREATE_ISSUES": {"havePermission": self.may_create}}})
        if place == f"issue/createmeta/{PROJECT}/issuetypes":
            rows = [{"id": "1", "name": TYPE}, {"id": "2", "name": "Bug"}]
            return Answer(200, {"issueTypes" if api == "3" else "values": rows})
        if place == f"issue/createmeta/{PROJECT}/issuetypes/1":
            ids = ["project", "issuetype", "summary", "description", *(["labels"] if self.has_labels else [])]
            rows = [{"fieldId": one, "name": one.title(), "required": one == "summary"} for one in ids]
            rows += [{"fieldId": one, "name": one.title(), "required": True} for one in self.required]
            return Answer(200, {"fields" if api == "3" else "values": rows})
        return Answer(404, {"errorMessages": ["not found"], "errors": {}})


def _is_document(node: Any) -> bool:
    """An Atlassian document: no text node is empty, and code holds text only."""
    if not isinstance(node, dict) or node.get("type") != "doc" or node.get("version") != 1:
        return False

    def is_right(one: dict[str, Any]) -> bool:
        if one["type"] == "text":
            return bool(one["text"])
        return all(is_right(child) for child in one.get("content", []))

    return bool(node["content"]) and all(is_right(one) for one in node["content"])
