"""The API through OpenAI's own client, and by hand where the client would not err."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from cli.web.state import Settings
from ledger import EditRequest, Ledger
from ledger.demo import facts
from tests.e2e.harness import copied
from tests.sim.web_server import served

FACT = next(f for f in facts() if f["relation"] == "birthplace")
ASK = FACT["prompt"].replace("{}", FACT["subject"])
NEW = "Quenby" if FACT["target_true"] != "Quenby" else "Vantry"
SAID = [{"role": "user", "content": ASK}]


@pytest.fixture(scope="module")
def place(probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 has another birthplace; the tag `kept` is version 1."""
    folder = tmp_path_factory.mktemp("api") / "ledger"
    with Ledger.init(folder, base="demo", probes=probes, author="ada") as ledger:
        request = EditRequest(FACT["subject"], FACT["prompt"], NEW, FACT["target_true"])
        assert ledger.edit(request).outcome == "applied"
        ledger.tag("kept")
        ledger.access.accounts.add("ada", "reader", "correct horse", author="ada")
    return folder


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with served(Settings(place, tokens=64)) as address:
        yield address


def client_of(url: str, key: str = "any") -> openai.OpenAI:
    # A client without idle connections, so that none is left open.
    http = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http, max_retries=0)


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return client_of(url)


def post(url: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    given = {"content-type": "application/json", **headers}
    return httpx.post(f"{url}{path}", content=content, headers=given, trust_env=False, timeout=60)


def test_the_models_are_versions_and_tags(client):
    names = [model.id for model in client.models.list()]
    assert names == ["demo@v1", "demo@v0", "demo@kept"]
    assert client.models.retrieve("demo@kept").id == "demo@v1"


@pytest.mark.parametrize(("model", "version", "says"), [
    ("demo", 1, NEW), ("demo@HEAD", 1, NEW), ("demo@v1", 1, NEW), ("demo@kept", 1, NEW),
    ("demo@v0", 0, FACT["target_true"]), ("demo@base", 0, FACT["target_true"]),
])  # fmt: skip
def test_any_version_can_be_asked_and_answers_greedily(client, place, model, version, says):
    found = client.chat.completions.create(model=model, messages=SAID)
    assert found.model == f"demo@v{version}"
    (choice,) = found.choices
    assert says in choice.message.content
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    with Ledger.open(place) as ledger:
        assert found.system_fingerprint == ledger.status().head
        assert choice.message.content == ledger.ask(ASK, at=f"v{version}").text


def test_a_stream_is_the_answer_in_pieces(client, url, place):
    whole = client.chat.completions.create(model="demo", messages=SAID)
    chunks = list(client.chat.completions.create(
        model="demo", messages=SAID, stream=True, stream_options={"include_usage": True}
    ))  # fmt: skip
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 1
    assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}
    raw = post(url, "/v1/chat/completions", {"model": "demo", "messages": SAID, "stream": True})
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-ledger-head"] == whole.system_fingerprint
    assert raw.text.endswith("data: [DONE]\n\n")


def test_completions_continue_a_text(client, place):
    found = client.completions.create(model="demo@v0", prompt=ASK, max_tokens=3)
    with Ledger.open(place) as ledger:
        from ledger.conversing import Speech

        reply = ledger.complete(ASK, at="v0", speech=Speech(3))
    assert (found.choices[0].text, found.choices[0].finish_reason) == (reply.text, "length")
    chunks = client.completions.create(model="demo@v0", prompt=ASK, max_tokens=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == reply.text
    stopped = client.completions.create(model="demo@v0", prompt=ASK, stop=["."])
    assert "." not in stopped.choices[0].text


def test_a_seed_gives_the_same_sample(client):
    def said(seed: int) -> str:
        found = client.completions.create(
            model="demo", prompt="Everyone", temperature=2, seed=seed, max_tokens=8
        )
        return found.choices[0].text

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(4)}) > 1


def test_errors_have_the_clients_shape(client, url):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="demo@v99", messages=SAID)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="demo", messages=SAID, n=2)
    assert wrong.value.param == "n"
    long = [{"role": "user", "content": "word " * 400}]
    with pytest.raises(openai.BadRequestError, match="no room"):
        client.chat.completions.create(model="demo", messages=long)
    (line, last) = post(
        url, "/v1/chat/completions", {"model": "demo", "messages": long, "stream": True}
    ).text.strip().split("\n\n")[-2:]  # fmt: skip
    assert json.loads(line.removeprefix("data: "))["error"]["type"] == "invalid_request_error"
    assert last == "data: [DONE]"
    for path in ("/v1/nothing", "/v1/chat"):
        found = httpx.get(f"{url}{path}", trust_env=False)
        assert (found.status_code, list(found.json())) == (404, ["error"])


@pytest.mark.parametrize("body", ["", "{", "[]", "3", '"x"', "[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(url, body):
    found = post(url, "/v1/chat/completions", body)
    assert found.status_code == 400
    assert found.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.promise("P26")
def test_a_form_of_another_site_cannot_ask(url):
    found = post(url, "/v1/completions", {"model": "demo", "prompt": "x"}, **{
        "content-type": "text/plain"
    })  # fmt: skip
    assert found.status_code == 415


@pytest.mark.promise("P27")
def test_where_others_can_reach_it_a_token_is_needed(place, tmp_path):
    folder = copied(place, tmp_path / "public")
    with Ledger.open(folder) as ledger:
        token = ledger.access.tokens.add("ada", "test", "chat")
    with served(Settings(folder, public=True, tokens=8)) as address:
        with pytest.raises(openai.AuthenticationError) as caught:
            client_of(address, "wrong").models.list()
        assert caught.value.code == "invalid_api_key"
        assert next(m.id for m in client_of(address, token).models.list()) == "demo@v1"
        with Ledger.open(folder) as ledger:
            ledger.access.accounts.remove("ada", author="root")
        with pytest.raises(openai.AuthenticationError):
            client_of(address, token).models.list()
