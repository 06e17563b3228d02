"""`kel chat`: talk to a version; a correction in the conversation becomes an edit, once confirmed.

Promise: nothing is changed without a yes to what was shown, and where the ledger needs four eyes it
is only proposed; the version that answers is always named; an error of one turn ends the turn, not
the conversation.

    kel chat
    printf 'Ada was born in\\nNo, it is Paris\\nyes\\n/undo\\nyes\\n' | kel chat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from cli.commands.interference import told
from cli.conversation import CLEAN, Exchange
from cli.documents import plain
from cli.errors import known
from cli.invocation import Callback, Invocation, changing, common
from cli.layout import fact, metrics, numbers, pairs
from cli.output import Span
from cli.proposals import of_undo
from cli.talk import Talk

if TYPE_CHECKING:
    from ledger import EditRequest
    from ledger.intent import Proposal
    from ledger.talking import Preview
    from ledger.views import EditOutcome

HELP = (
    "/at VERSION   answer from another version (HEAD is the newest)",
    "/compare      the unedited base beside it, or no longer",
    "/clean        forget the conversation, so that answers come from the weights alone",
    "/facts        what this version was taught",
    "/undo         take back the last change",
    "/quit         end",
)
_UNDOABLE = frozenset({"apply", "revert", "reapply", "tag"})


def detector_option(function: Callback) -> Callback:
    """Who finds out that a message wants a change."""
    return click.option(
        "--detector",
        type=click.Choice(["rules", "model"]),
        default="rules",
        show_default=True,
        help="Who notices a change: rules, and with `model` the chat model where they do not.",
    )(function)


@click.command()
@click.option("--at", metavar="VERSION", default="HEAD", show_default=True, help="Who answers.")
@click.option("--compare", is_flag=True, help="Show what the unedited base says as well.")
@click.option(
    "--method", metavar="M", default="rome", show_default=True, help="The editing method."
)
@click.option(
    "--tokens",
    metavar="N",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    help="The longest answer.",
)
@detector_option
@common
def command(
    invocation: Invocation, at: str, compare: bool, method: str, tokens: int, detector: str
) -> int:
    """Talk to the model, correct it, and take corrections back.

    A line is a message or a command (/help lists them). A message that states or corrects a fact is
    shown as a change, with what it would do, and made only after a yes. Reads lines from standard
    input, so it can be scripted.
    """
    with changing(invocation) as ledger:
        ledger.resolve(at)
        chat = ledger.status().base.chat
        talk = Talk(invocation, ledger, method, at, tokens, compare, chat)
        talk.detector = ledger.detector() if detector == "model" else None
        if not chat:
            invocation.output.note("this is no chat model: it continues each line by itself, and")
            invocation.output.note("a line such as 'Ada Lovelace was born in' is what to begin.")
        while (line := invocation.output.asked(f"{_name(talk)}> ")) is not None:
            if not _turn(talk, line.strip()):
                break
    return invocation.emit("chat", {"turns": talk.turns}, ())


def _name(talk: Talk) -> str:
    return f"v{talk.ledger.resolve(talk.at)}"


def _turn(talk: Talk, line: str) -> bool:
    """One line; whether to go on."""
    if line in ("/quit", "/exit"):
        return False
    try:
        _taken(talk, line)
    except Exception as error:
        failure = known(error)
        if failure is None:
            raise
        talk.keep("error", error=failure)
        talk.invocation.output.failure(f"kel: {failure.message}")
    return True


def _taken(talk: Talk, line: str) -> None:
    if not line:
        return
    word, _, rest = line.partition(" ")
    if line in CLEAN:
        talk.conversation.clean()
        talk.keep("clean")
        talk.tell(Span("the conversation is forgotten", "dim"))
    elif word.startswith("/"):
        _COMMANDS.get(word, _help)(talk, rest.strip())
    else:
        _said(talk, line)


def _said(talk: Talk, message: str) -> None:
    """A message: a change to be confirmed, or something to be answered."""
    proposal = talk.conversation.proposed(message, talk.detector)
    declined = proposal is not None and not _changed(talk, message, proposal)
    # What is no change after all is answered, but a statement is nothing to be continued.
    if proposal is None or (declined and talk.chat):
        _answered(talk, message)


def _answered(talk: Talk, message: str) -> None:
    answers = {}
    versions = ["base", talk.at] if talk.compare else [talk.at]
    for version in versions:
        answers[version] = _spoken(talk, message, version)
    reply = answers[talk.at]
    talk.conversation.add(Exchange(message, reply.text, reply.version))
    base = answers.get("base") if talk.compare else None
    talk.keep("answer", message=message, answer=reply, base=base)


def _spoken(talk: Talk, message: str, version: str) -> Any:
    """One answer, shown as it comes."""
    from ledger.conversing import Speech

    shown = not talk.invocation.json
    output = talk.invocation.output
    if shown:
        label = "base" if version == "base" else f"v{talk.ledger.resolve(version)}"
        output.piece(Span(f"{label:<6}", "dim"))

    def heard(piece: str) -> bool:
        if shown:
            output.piece(piece)
        return True

    try:
        return talk.ledger.say(
            talk.conversation.messages(message),
            at=version,
            speech=Speech(talk.tokens),
            listener=heard,
        )
    finally:
        if shown:
            output.line("")


# --- changes ------------------------------------------------------------------------------------


def _changed(talk: Talk, message: str, proposal: Proposal) -> bool:
    """Show what a message would change; make it if that is confirmed. Whether it was a change."""
    request = proposal.request()
    words = ", ".join(f"'{word}'" for word in proposal.evidence)
    talk.tell(Span("a change? ", "yellow"), fact(plain(request.to_json())))
    talk.tell(Span(f"  by {words}, confidence {proposal.confidence:.2f}", "dim"))
    with talk.invocation.output.progress("preview") as bar:
        preview = talk.ledger.preview(
            request, method=talk.method, progress=bar.stage, retested=bar.retest
        )
    if preview.outcome.outcome == "no-op":
        talk.tell(Span("  the model says so already", "dim"))
        talk.keep("no-op", message=message, request=request.to_json())
        return True
    _show(talk, preview)
    two = talk.ledger.access.accounts.four_eyes()
    if not talk.confirmed("propose the change?" if two else "change the model?"):
        talk.keep("declined", message=message, request=request.to_json())
        talk.tell(Span("nothing was changed", "dim"))
        return False
    if two:
        talk.propose("edit", request.to_json())
    else:
        _edited(talk, message, request)
    return True


def _show(talk: Talk, preview: Preview) -> None:
    outcome = preview.outcome
    rows = [
        ("says now", outcome.before.strip()),
        ("would say", outcome.after.strip()),
        ("disturbs", told(preview.foreseen or ())),
        ("breaks", numbers(outcome.broken) if outcome.broken else ""),
        ("measured", metrics(_few(outcome.metrics))),
        ("gate", "; ".join(outcome.reasons) or "would let it pass"),
    ]
    if not talk.invocation.json:
        talk.invocation.output.show([pairs(rows, indent=2)])


def _few(values: Mapping[str, float]) -> dict[str, float]:
    wanted = ("reliability", "locality_random", "earlier_reliability", "update_ratio")
    return {name: values[name] for name in wanted if name in values}


def _edited(talk: Talk, message: str, request: EditRequest) -> None:
    with talk.invocation.output.progress("edit") as bar:
        outcome = talk.ledger.edit(
            request,
            method=talk.method,
            note=f"chat: {message}"[:1000],
            progress=bar.stage,
            retested=bar.retest,
        )
    talk.keep("edit", message=message, outcome=outcome)
    _told(talk, outcome)


def _told(talk: Talk, outcome: EditOutcome) -> None:
    style = "green" if outcome.outcome == "applied" else "red"
    number = f" edit {outcome.edit}" if outcome.edit else ""
    talk.tell(Span(outcome.outcome, style), f"{number}, the ledger is at v{outcome.version}")
    for reason in outcome.reasons:
        talk.tell(Span("  why   ", "red"), reason)
    talk.tell(Span("  before ", "dim"), outcome.before.strip())
    talk.tell(Span("  after  ", "dim"), outcome.after.strip())
    if outcome.outcome == "applied":
        talk.at = "HEAD"
        talk.tell(Span("  /undo takes it back, /clean asks the weights alone", "dim"))


# --- commands -----------------------------------------------------------------------------------


def _undo(talk: Talk, _rest: str) -> None:
    last = next((line for line in talk.ledger.log() if line.op in _UNDOABLE), None)
    if last is not None:
        talk.tell(Span("take back ", "yellow"), f"{last.op} ", "; ".join(last.facts))
    if not talk.confirmed("take it back?"):
        talk.tell(Span("nothing was changed", "dim"))
        return
    if talk.ledger.access.accounts.four_eyes():
        talk.propose(*of_undo(talk.ledger))
        return
    done = talk.ledger.undo()
    talk.keep("undo", outcome=done)
    talk.at = "HEAD"
    talk.tell(Span("undone", "green"), f", the ledger is at v{done.version}")


def _at(talk: Talk, rest: str) -> None:
    talk.ledger.resolve(rest or "HEAD")
    talk.at = rest or "HEAD"
    talk.keep("at", version=talk.ledger.resolve(talk.at))
    talk.tell(Span(f"{_name(talk)} answers now", "dim"))


def _compare(talk: Talk, _rest: str) -> None:
    talk.compare = not talk.compare
    talk.keep("compare", on=talk.compare)
    said = "the base answers as well" if talk.compare else "the base is silent again"
    talk.tell(Span(said, "dim"))


def _facts(talk: Talk, rest: str) -> None:
    found = talk.ledger.facts(talk.at, rest or None)
    talk.keep("facts", facts=found)
    for item in found:
        talk.tell(f"{item.edit:>4}  {item.prompt.replace('{}', item.subject)} -> {item.object}")
    if not found:
        talk.tell(Span("no facts", "dim"))


def _help(talk: Talk, _rest: str) -> None:
    for text in HELP:
        talk.tell(Span(text, "dim"))


_COMMANDS: Mapping[str, Callable[[Talk, str], None]] = MappingProxyType(
    {"/undo": _undo, "/at": _at, "/compare": _compare, "/facts": _facts, "/help": _help}
)
