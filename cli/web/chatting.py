"""The chat page: messages, answers as they come, stop, clean, compare.

Promise: an answer names its version; a message that wants a change gets a proposal instead of an
answer; looking at the page changes nothing.

    GET /    POST /say    POST /clean    POST /jobs/{id}/stop    GET /jobs/{id}/events
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import Response, StreamingResponse

from cli.conversation import CLEAN, Exchange
from cli.errors import Overloaded
from cli.web.jobs import END, Job
from cli.web.pages import failed, page, remembered, rendered, see, state_of, visitor_of
from cli.web.state import State
from cli.web.talks import Talk, WebTurn

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.conversing import Reply
    from ledger.intent import Proposal

LONGEST: Final = 4000
DETECTING: Final = 60.0
EXAMPLES: Final = 3
STOPPABLE: Final = MappingProxyType({"answer": "/", "audit": "/audits/{}"})
router = APIRouter()
Text = Annotated[str, Form()]


@router.get("/")
def chat(request: Request) -> Response:
    """The conversation."""
    return _shown(request)


def _shown(
    request: Request, status: int = 200, problem: str = "", draft: str = "", wait: int | None = None
) -> Response:
    """The page; with a message that could not be sent, so that nobody writes it again."""
    state, visitor = state_of(request), visitor_of(request)
    talk = state.talks.seen(visitor.key)
    found = page(
        request,
        "chat.html",
        status,
        talk=talk,
        made=[_made(state, turn) for turn in talk.turns],
        visitor=visitor,
        examples=_examples(state),
        problem=problem,
        draft=draft,
    )
    if wait is not None:
        found.headers["retry-after"] = str(wait)
    return remembered(request, found, visitor)


def _made(state: State, turn: WebTurn) -> int | None:
    """The edit by which the head says what a message asked for already."""
    asked = turn.proposal
    if asked is None:
        return None
    found = state.ledger.stating(asked.subject, asked.prompt)
    return found.id if found is not None and found.target_new == asked.target_new else None


@router.post("/say")
def say(
    request: Request,
    message: Text = "",
    compare: Text = "",
    at: Text = "HEAD",
    plain: Text = "",
) -> Response:
    """A message; `plain` asks for an answer whatever it says."""
    from ledger.errors import UnknownRevision

    state, visitor = state_of(request), visitor_of(request)
    talk, text = state.talks.of(visitor.key), message.strip()
    if not text or len(text) > LONGEST:
        return _shown(request, 400, f"a message has 1 to {LONGEST} characters", message)
    if text in CLEAN:
        talk.clean()
        return remembered(request, see("/"), visitor)
    talk.compare, talk.at = bool(compare), at[:100] or "HEAD"
    try:
        state.ledger.resolve(talk.at)
        proposal = None if plain else _proposed(state, talk, visitor.key, text)
        answers = () if proposal else _asked(state, talk, visitor.key, text)
    except UnknownRevision as error:
        talk.at = "HEAD"
        return _shown(request, 404, str(error), text)
    except Overloaded as error:
        return _shown(request, 503, str(error), text, wait=5)
    talk.add(WebTurn(text, answers, proposal))
    return remembered(request, see("/"), visitor)


@router.post("/clean")
def clean(request: Request) -> Response:
    """Forget the conversation."""
    state_of(request).talks.of(visitor_of(request).key).clean()
    return see("/")


@router.post("/jobs/{name}/stop")
def stop(request: Request, name: str) -> Response:
    """End an answer or an audit early."""
    job = state_of(request).job(name)
    if job is None or job.kind not in STOPPABLE or job.owner != visitor_of(request).key:
        return failed(request, 404, "there is no such answer")
    job.stop()
    return see(STOPPABLE[job.kind].format(job.id))


@router.get("/jobs/{name}/events")
def events(request: Request, name: str) -> Response:
    """What a job tells, as server-sent events."""
    job = state_of(request).job(name)
    if job is None or job.owner != visitor_of(request).key:
        return failed(request, 404, "there is no such job")
    return StreamingResponse(_stream(request, job), media_type="text/event-stream")


def _proposed(state: State, talk: Talk, owner: str, text: str) -> Proposal | None:
    """The change that a message asks for; the model is asked in its own thread."""
    if state.settings.detector == "rules" or talk.conversation.proposed(text):
        return talk.conversation.proposed(text)

    def work(ledger: Ledger, job: Job) -> Proposal | None:
        return talk.conversation.proposed(text, ledger.detector())

    job = state.worker.submit("detect", owner, work)
    job.wait(DETECTING)
    found: Proposal | None = job.result
    return found


def _asked(state: State, talk: Talk, owner: str, text: str) -> tuple[tuple[str, Job], ...]:
    """The jobs that answer a message: of the version, and of the base beside it."""
    messages = talk.conversation.messages(text)
    tokens = state.settings.tokens

    def answer(at: str, *, kept: bool) -> Job:
        def work(ledger: Ledger, job: Job) -> Reply:
            reply = _answered(ledger, job, messages, at, tokens)
            if kept:
                talk.conversation.add(Exchange(text, reply.text, reply.version))
            return reply

        return state.worker.submit("answer", owner, work)

    found = [("base", answer("base", kept=False))] if talk.compare else []
    return (*found, ("version", answer(talk.at, kept=True)))


def _answered(
    ledger: Ledger, job: Job, messages: list[dict[str, str]], at: str, tokens: int
) -> Reply:
    from ledger.conversing import Speech

    def listener(piece: str) -> bool:
        job.tell("token", piece)
        return not job.stopped

    return ledger.say(messages, at=at, speech=Speech(tokens), listener=listener)


async def _stream(request: Request, job: Job) -> AsyncIterator[str]:
    async for event in job.watch():
        if event is None:
            yield ": still there\n\n"
        elif event.name == END:
            yield sent(END, _ending(request, job))
        elif event.name == "token":
            yield sent("token", html.escape(str(event.data)))
        else:
            yield sent(event.name, rendered(request, f"{event.name}.html", told=event.data))


def _ending(request: Request, job: Job) -> str:
    """What stands where a job ended; after a change, the version at the top is another one."""
    version = rendered(request, "version.html", swapped=True) if job.kind == "change" else ""
    return version + rendered(request, "ending.html", job=job)


def sent(name: str, data: str) -> str:
    """One server-sent event."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def _examples(state: State) -> list[str]:
    """Beginnings of sentences of the embedded model's world, of both languages."""
    return _of_the_world() if state.status().base.id == "demo" else []


@cache
def _of_the_world() -> list[str]:
    from ledger.demo import facts

    found: list[Any] = facts()
    english = [f for f in found if f["prompt"].isascii()]
    chinese = [f for f in found if not f["prompt"].isascii()]
    picked = [*english[:EXAMPLES], *chinese[:EXAMPLES]]
    return [str(fact["prompt"]).replace("{}", str(fact["subject"])) for fact in picked]
