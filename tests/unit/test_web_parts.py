"""The parts of the application by themselves: jobs, the worker, texts, and what the API reads."""

from __future__ import annotations

import asyncio
import ctypes
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import cli.web
from cli.errors import ApiError, Overloaded
from cli.web.asked import asked_chat, asked_text
from cli.web.chatting import sent
from cli.web.jobs import Job
from cli.web.pages import local
from cli.web.talks import MOST_TALKS, Talks, WebTurn
from cli.web.texts import LANGUAGES, preferred, words
from cli.web.worker import MOST_OF_ONE, Worker
from ledger.errors import InvalidInput

TEMPLATES = Path(cli.web.__file__).parent / "templates"
HELLO = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}


class Opened:
    """Stands for a ledger: counts how often it was opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def __call__(self) -> Any:
        self.opened += 1
        return self

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def worker(opened):
    made = Worker(opened, most=20)
    yield made
    made.close()


def done(job: Job) -> Job:
    assert job.wait(10)
    return job


# --- jobs and the worker ------------------------------------------------------------------------


def test_jobs_run_in_order_on_one_thread(worker):
    threads, order = set(), []

    def work(number: int) -> Any:
        def run(ledger: Any, job: Job) -> int:
            threads.add(threading.get_ident())
            order.append(number)
            return number

        return run

    jobs = [worker.submit("answer", f"o{i}", work(i)) for i in range(10)]
    assert [done(job).result for job in jobs] == list(range(10))
    assert order == list(range(10))
    assert len(threads) == 1
    assert worker.find(jobs[3].id) is jobs[3]
    assert worker.find("nothing") is None


def fails(error: BaseException) -> Any:
    def run(ledger: Any, job: Job) -> None:
        raise error

    return run


def test_an_error_ends_its_job_and_nothing_else(worker, opened):
    ours = done(worker.submit("answer", "o", fails(InvalidInput("too long"))))
    assert (ours.state, ours.failure.message, ours.failure.exit) == ("failed", "too long", 2)
    assert opened.closed == 0
    other = done(worker.submit("answer", "o", fails(MemoryError("at /secret/place"))))
    assert "secret" not in other.failure.message
    assert done(worker.submit("answer", "o", lambda ledger, job: 1)).result == 1
    assert (opened.opened, opened.closed) == (2, 1)


def test_a_ledger_that_cannot_be_opened_fails_the_job_not_the_worker():
    state = {"broken": True}

    def opening() -> Any:
        if state["broken"]:
            raise InvalidInput("gone")
        return Opened()

    worker = Worker(opening)
    assert done(worker.submit("answer", "o", lambda ledger, job: 1)).failure.message == "gone"
    state["broken"] = False
    assert done(worker.submit("answer", "o", lambda ledger, job: 1)).result == 1
    worker.close()


@pytest.mark.promise("P20")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("busy", [False, True])
def test_a_thread_that_was_killed_is_replaced(worker, opened, busy):
    begun, go = threading.Event(), threading.Event()

    def held(ledger: Any, job: Job) -> None:
        begun.set()
        while not go.wait(0.01):
            pass

    thread = worker._thread
    if busy:
        first = worker.submit("answer", "o", held)
        assert begun.wait(10)
    else:
        first = done(worker.submit("answer", "o", lambda ledger, job: 1))
    killed = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
    )
    assert killed == 1
    second = worker.submit("answer", "o", lambda ledger, job: 2)
    if not busy:
        thread.join(10)
        assert not thread.is_alive()
    worker.find(second.id)
    assert done(first).over
    assert done(second).over
    assert done(worker.submit("answer", "o", lambda ledger, job: 3)).result == 3
    go.set()


def test_too_much_is_refused_of_one_and_of_all(worker):
    go = threading.Event()
    wait = lambda ledger, job: go.wait(10)  # noqa: E731
    jobs = [worker.submit("answer", "one", wait) for _ in range(MOST_OF_ONE)]
    with pytest.raises(Overloaded):
        worker.submit("answer", "one", wait)
    jobs += [worker.submit("answer", f"o{i}", wait) for i in range(20 - MOST_OF_ONE)]
    with pytest.raises(Overloaded):
        worker.submit("answer", "another", wait)
    go.set()
    for job in jobs:
        done(job)
    done(worker.submit("answer", "one", wait))


def test_a_job_that_is_stopped_knows_it(worker):
    begun = threading.Event()

    def run(ledger: Any, job: Job) -> bool:
        begun.set()
        while not job.stopped:
            pass
        return job.stopped

    job = worker.submit("answer", "o", run)
    assert begun.wait(10)
    job.stop()
    assert done(job).result is True


def test_a_watcher_sees_everything_in_order_however_late_it_comes():
    job = Job("answer", "o")

    async def watched() -> list[Any]:
        return [(event.name, event.data) async for event in job.watch() if event]

    async def both() -> list[list[Any]]:
        early = asyncio.create_task(watched())
        await asyncio.sleep(0.01)
        teller = threading.Thread(target=tell)
        teller.start()
        first = await early
        teller.join()
        return [first, await watched()]

    def tell() -> None:
        for piece in ("Lon", "don"):
            job.tell("token", piece)
        job.finish("London")

    want = [("token", "Lon"), ("token", "don"), ("end", None)]
    assert asyncio.run(both()) == [want, want]
    assert (job.text, job.state, job.over) == ("London", "done", True)


def test_an_event_is_one_event_whatever_the_text():
    assert sent("token", "a") == "event: token\ndata: a\n\n"
    assert sent("token", "a\r\n\r\ndata: b\revent: end") == (
        "event: token\ndata: a\ndata: \ndata: data: b\ndata: event: end\n\n"
    )


# --- conversations and texts ----------------------------------------------------------------------


def test_conversations_are_bounded_and_apart():
    talks = Talks()
    talks.of("a").add(WebTurn("hello"))
    assert talks.seen("b").turns == []
    for number in range(MOST_TALKS):
        talks.of(f"k{number}")
    assert talks.seen("a").turns == []
    talks.of("k9").add(WebTurn("there"))
    talks.move("k9", "new")
    assert (len(talks.seen("new").turns), talks.seen("k9").turns) == (1, [])


def test_both_languages_say_the_same_things_and_all_that_pages_ask_for():
    used = {
        name
        for path in TEMPLATES.glob("*.html")
        for name in re.findall(r"\bt\.(\w+)", path.read_text("utf-8"))
    }
    english, chinese = (words(language) for language in LANGUAGES)
    assert set(english) == set(chinese)
    assert used <= set(english)
    assert all(text.strip() for text in (*english.values(), *chinese.values()))
    changed = {key for key in english if english[key] != chinese[key]}
    assert changed == set(english)


@pytest.mark.parametrize(("header", "language"), [
    ("", "en"), ("zh", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,zh;q=0.5", "en"),
    ("fr,zh;q=0.3,en;q=0.2", "zh"), ("en;q=x,zh;q=0.1", "zh"), (",;q=,,", "en"), ("de", "en"),
])  # fmt: skip
def test_the_language_a_browser_likes_best(header, language):
    assert preferred(header) == language


@pytest.mark.promise("P27")
@pytest.mark.parametrize("place", ["//x", "/\\x", "https://x", "x", "", "/a\nb", "javascript:x"])
def test_only_a_path_of_this_site_is_local(place):
    assert local(place) == "/"
    assert local("/proposals/x?y=1") == "/proposals/x?y=1"


# --- what the API reads -------------------------------------------------------------------------


def test_a_request_is_read_with_its_defaults():
    asked = asked_chat(HELLO, 100)
    assert (asked.model, asked.stream, asked.usage) == ("demo", False, False)
    assert (asked.speech.max_new_tokens, asked.speech.temperature) == (100, 0.0)
    rich = asked_chat({**HELLO, "max_tokens": 7, "temperature": 1, "seed": 3, "stop": ".", "n": 1,
                       "stream": True, "stream_options": {"include_usage": True}}, 100)  # fmt: skip
    assert (rich.speech.max_new_tokens, rich.speech.seed, rich.speech.stops) == (7, 3, (".",))
    assert rich.stream
    assert rich.usage
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = asked_chat({**HELLO, "messages": [{"role": "developer", "content": parts}]}, 9)
    assert asked.messages == ({"role": "system", "content": "ab"},)
    assert asked_text({"model": "demo", "prompt": ["x"]}, 9).prompt == "x"


@pytest.mark.parametrize(("fields", "param"), [
    ({"messages": None}, "messages"), ({"messages": []}, "messages"),
    ({"messages": ["x"]}, "messages[0]"), ({"messages": [{"role": "user"}]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0]"),
    ({"model": None}, "model"), ({"model": 3}, "model"), ({"n": 2}, "n"), ({"n": None}, "n"),
    ({"temperature": "hot"}, "temperature"), ({"temperature": True}, "temperature"),
    ({"temperature": 3}, None), ({"top_p": 0}, None), ({"max_tokens": 0}, None),
    ({"max_tokens": "7"}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
    ({"stop": 3}, "stop"), ({"stop": ["a"] * 5}, None), ({"stream": "yes"}, "stream"),
    ({"logprobs": True}, "logprobs"), ({"tools": [{}]}, "tools"), ({"nonsense": 1}, "nonsense"),
    ({"response_format": {"type": "json_object"}}, "response_format"), ({"seed": 0.5}, "seed"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(fields, param):
    with pytest.raises(ApiError) as caught:
        asked_chat({**HELLO, **fields}, 100)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("prompt", [None, 3, [], ["a", "b"], [[1, 2]]])
def test_a_completion_is_of_one_text(prompt):
    with pytest.raises(ApiError, match="one prompt"):
        asked_text({"model": "demo", "prompt": prompt}, 100)
