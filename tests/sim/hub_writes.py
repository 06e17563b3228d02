"""The half of the small Hub that changes something: making repositories, uploads, commits.

Promise: a commit on another parent than the head is refused, as are large files that were neither
uploaded nor copied; what a commit holds is what was sent, unless the test spoils it.

    status, body, headers = written(hub, "/api/repos/create", "", b'{"name": "x"}')
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.sim.hub_server import Answer, Repository, entry, is_large, sha

if TYPE_CHECKING:
    from tests.sim.hub_server import HubServer

_MODEL = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>[a-z-]+)(?:/(?P<rest>.+))?")
_BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


def written(hub: HubServer, path: str, query: str, body: bytes) -> Answer:
    """The answer to a POST or PUT, after its effect."""
    if path == "/api/repos/create":
        return _create(hub, json.loads(body))
    if path == "/api/validate-yaml":
        return _json({"errors": [], "warnings": []})
    if path.startswith("/lfs/"):
        repo, _, oid = path.removeprefix("/lfs/").rpartition("/")
        if sha(body) != oid:
            return 400, b'{"error": "wrong bytes"}', {}
        hub.storage[oid] = body
        hub.repos[repo].large.add(oid)
        return 200, b"", {}
    if batch := _BATCH.fullmatch(path):
        return _batch(hub, batch["repo"], json.loads(body))
    match = _MODEL.fullmatch(path)
    if match is None or match["repo"] not in hub.repos:
        return 404, b'{"error": "not found"}', {"X-Error-Code": "RepoNotFound"}
    repo = hub.repos[match["repo"]]
    if match["what"] == "preupload":
        return _preupload(repo, json.loads(body))
    if match["what"] == "paths-info":
        return _paths_info(repo, match["rest"], body)
    if match["what"] == "lfs-files":
        return _duplicate(hub, repo, json.loads(body))
    return _commit(hub, match["repo"], repo, query, body)


def _create(hub: HubServer, wish: dict[str, Any]) -> Answer:
    name = f"{wish['organization']}/{wish['name']}" if wish.get("organization") else wish["name"]
    if name in hub.repos:
        return 409, b'{"error": "there is one"}', {}
    made = Repository({}, private=wish.get("visibility") == "private" or bool(wish.get("private")))
    made.add({".gitattributes": b"*.safetensors filter=lfs\n"})
    hub.repos[name] = made
    return _json({"url": f"{hub.url}/{name}"})


def _preupload(repo: Repository, wish: dict[str, Any]) -> Answer:
    files = [
        {
            "path": item["path"],
            "uploadMode": "lfs" if is_large(item["path"]) else "regular",
            "shouldIgnore": False,
        }
        for item in wish["files"]
    ]
    return _json({"files": files})


def _batch(hub: HubServer, name: str, wish: dict[str, Any]) -> Answer:
    objects = []
    for item in wish["objects"]:
        answer = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in hub.repos[name].large:
            answer["actions"] = {"upload": {"href": f"{hub.url}/lfs/{name}/{item['oid']}"}}
        objects.append(answer)
    return _json({"transfer": "basic", "objects": objects})


def _paths_info(repo: Repository, revision: str, body: bytes) -> Answer:
    text = body.decode()
    wish = json.loads(text) if text.startswith("{") else parse_qs(text)
    files = repo.files(revision)
    return _json([entry(name, files[name]) for name in wish["paths"] if name in files])


def _duplicate(hub: HubServer, repo: Repository, wish: dict[str, Any]) -> Answer:
    failed = [
        {"sha256": item["sha256"], "error": "not here"}
        for item in wish["files"]
        if item["sha256"] not in repo.large
    ]
    if not failed:
        hub.repos[wish["target"]["name"]].large |= {item["sha256"] for item in wish["files"]}
    return _json({"failed": failed})


def _commit(hub: HubServer, name: str, repo: Repository, query: str, body: bytes) -> Answer:
    header, *steps = [json.loads(line) for line in body.splitlines()]
    parent = header["value"].get("parentCommit", repo.head)
    pull = "create_pr" in parse_qs(query)
    if parent != repo.head and not pull:
        return 412, b'{"error": "A commit has happened since. Please refresh and try again."}', {}
    files = dict(repo.commits[parent])
    for step in steps:
        value = step["value"]
        if step["key"] == "deletedFile":
            del files[value["path"]]
            continue
        if step["key"] == "lfsFile":
            if value["oid"] not in repo.large:
                return 400, b'{"error": "LFS pointer without its file"}', {}
            data = hub.storage[value["oid"]]
        else:
            data = base64.b64decode(value["content"])
        files[value["path"]] = hub.spoil(value["path"], data)
    oid = repo.add(files, pull)
    url = f"{hub.url}/{name}/discussions/1" if pull else None
    place = f"{hub.url}/{name}/commit/{oid}"
    return _json({"commitOid": oid, "commitUrl": place, "pullRequestUrl": url})


def _json(value: object) -> Answer:
    return 200, json.dumps(value).encode(), {}
