"""From texts to token rows: filling, tokenising, and finding the subject and the target.

Promise: a text is tokenised once, as a whole, and everything is located by character offsets, so
positions are right whatever the tokenizer merges and whether or not it prepends a BOS token.
Rules: the tokenizer's own BOS is kept; a target is separated from its prompt by exactly one space,
or none beside CJK text; tokenizers without offsets are refused. A model with a chat frame is asked
through it: the prompt is the user's words, the target the assistant's, special tokens are the
frame's own; spans count from the prompt's first character all the same.

    filled = fill(request, "I think. {}")
    row = target_row(model, filled.text, request.target_new, subject=filled.subject)
    row.ids, row.labels, row.first        # position first - 1 + j predicts labels[j]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from editors.errors import InvalidRequest, UnsupportedModel
from editors.generation import continue_rows, top_k_sampler
from editors.requests import SLOT, Fact, is_cjk

if TYPE_CHECKING:
    from editors.model import EditableModel

Span = tuple[int, int]

LEAD_INS = ("The", "Therefore", "Because", "I", "You")
LEAD_LENGTHS = (5, 10)
LEAD_COPIES = 2
_TOP_K = 5
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")
_FINAL_END = re.compile(r"[.!?](?=\s|$)|[。！？]")


@dataclass(frozen=True)
class Encoded:
    """A tokenised text: ids and the character span of each token (empty for special tokens).

    Spans count from the text's first character, also where a chat frame stands before it.
    """

    text: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Filled:
    """A template filled with a request, and the character span of the subject in it."""

    text: str
    subject: Span


@dataclass(frozen=True)
class TargetRow:
    """A row to be scored: its last token is dropped, as nothing is predicted from it.

    `ids` inputs; `labels` the target's tokens; `first` index of the first label in the full row,
    so that position first - 1 + j predicts labels[j]; `subject` position of its last token or None.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    first: int
    subject: int | None

    @property
    def positions(self) -> range:
        """Positions whose logits predict the labels."""
        return range(self.first - 1, self.first - 1 + len(self.labels))


def fill(request: Fact, template: str = SLOT) -> Filled:
    """The request's prompt inside a context template, with the place of the subject."""
    head, _, tail = template.partition(SLOT)
    start = len(head) + request.prompt.index(SLOT)
    return Filled(head + request.text + tail, (start, start + len(request.subject)))


def fill_subject(subject: str, template: str) -> Filled:
    """A template about the subject alone, such as "{} is a"."""
    head, _, tail = template.partition(SLOT)
    return Filled(head + subject + tail, (len(head), len(head) + len(subject)))


def encode(model: EditableModel, text: str) -> Encoded:
    """Token ids with character offsets, with the tokenizer's own BOS and without a final EOS.

    With a chat frame: the whole conversation up to where the answer begins.
    Raises: UnsupportedModel when the tokenizer cannot report offsets.
    """
    (encoded,) = encode_all(model, [text])
    return encoded


def encode_all(model: EditableModel, texts: Sequence[str]) -> list[Encoded]:
    """As `encode`, for several texts in one call of the tokenizer."""
    framed = [_in_frame(model, text) for text in texts]
    wholes, starts = [whole for whole, _, _ in framed], [start for _, start, _ in framed]
    return _tokenised(model, wholes, texts, starts)


def _in_frame(model: EditableModel, text: str) -> tuple[str, int, str]:
    """The text as the model is given it, where its first character stands there (before it, if
    leading white space was dropped), and what separates it from an answer."""
    frame = model.frame
    if frame is None:
        return text, 0, ""
    # Many templates drop white space around the user's words, and none needs it.
    start = len(frame.before) - (len(text) - len(text.lstrip()))
    return frame.before + text.strip() + frame.after, start, frame.gap


def _tokenised(
    model: EditableModel, wholes: Sequence[str], texts: Sequence[str], starts: Sequence[int]
) -> list[Encoded]:
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedModel(
            f"tokenizer {type(tokenizer).__name__} reports no character offsets: "
            "use the fast tokenizer (tokenizer.json) of this model"
        )
    if not wholes:
        return []
    # A frame is written with its special tokens.
    special, end_ids = model.frame is None, model.end_ids
    out = tokenizer(list(wholes), return_offsets_mapping=True, add_special_tokens=special)
    found = []
    for text, start, row, offsets in zip(
        texts, starts, out["input_ids"], out["offset_mapping"], strict=True
    ):
        ids, spans = list(row), [(int(a), int(b)) for a, b in offsets]
        while ids and ids[-1] in end_ids and spans[-1][0] == spans[-1][1]:
            del ids[-1], spans[-1]
        found.append(Encoded(text, tuple(ids), tuple((a - start, b - start) for a, b in spans)))
    return found


def subject_position(encoded: Encoded, subject: Span) -> int:
    """Position of the last token that overlaps the subject's characters.

    Raises: InvalidRequest when no token does.
    """
    begin, end = subject
    for position in range(len(encoded.spans) - 1, -1, -1):
        start, stop = encoded.spans[position]
        if start < end and stop > begin:
            return position
    raise InvalidRequest(
        f"the tokenizer drops the subject {encoded.text[begin:end]!r} entirely: reword it"
    )


def subject_rows(model: EditableModel, filled: Sequence[Filled]) -> list[tuple[int, ...]]:
    """Rows up to and including the subject's last token: later tokens cannot change its key."""
    encoded = encode_all(model, [item.text for item in filled])
    return [
        one.ids[: subject_position(one, item.subject) + 1]
        for one, item in zip(encoded, filled, strict=True)
    ]


def separator(prompt: str, target: str) -> str:
    """What stands between prompt and target: one space, or nothing beside CJK or whitespace."""
    if prompt[-1:].isspace() or is_cjk(prompt[-1:] or " ") or is_cjk(target[:1] or " "):
        return ""
    return " "


def target_row(
    model: EditableModel, prompt: str, target: str, *, subject: Span | None = None
) -> TargetRow:
    """Prompt and target as one tokenised row, cut where the prompt's characters end.

    Raises: InvalidRequest when the target has no token of its own, or begins inside the token
    that ends the subject.
    """
    whole, start, gap = _in_frame(model, prompt)
    between = separator(prompt, target) if model.frame is None else gap
    (encoded,) = _tokenised(model, [whole + between + target], [prompt], [start])
    end = len(whole) - start
    first = next((i for i, span in enumerate(encoded.spans) if span[1] > end), None)
    if not first:
        raise InvalidRequest(
            f"target {target!r} after prompt {prompt!r} has no token that is predicted from an "
            "earlier one: lengthen the prompt"
        )
    place = None if subject is None else subject_position(encoded, subject)
    if place is not None and place >= first:
        raise InvalidRequest(
            f"the tokenizer merges the end of the subject with the target {target!r}: "
            "put a word between them in the prompt"
        )
    return TargetRow(encoded.ids[:-1], encoded.ids[first:], first, place)


def natural_stop(text: str, complete: bool) -> int | None:
    """Where a generated answer ends, as an index into the text, or None if it goes on.

    An answer ends before a line break, or after a sentence mark (. ! ? followed by white space;
    。！？ anywhere). `complete` says that nothing will follow: the end of the text then counts as
    white space too. Leading white space is skipped. An abbreviation ("Dr. Who") ends it as well.
    """
    begin = len(text) - len(text.lstrip())
    newline = text.find("\n", begin)
    mark = (_FINAL_END if complete else _SENTENCE_END).search(text, begin)
    ends = [newline] if newline >= 0 else []
    if mark is not None:
        ends.append(mark.end())
    return min(ends, default=None)


def context_templates(model: EditableModel, generator: torch.Generator) -> tuple[str, ...]:
    """ "{}" and 20 short texts sampled from the model, each as "text. {}": 21 templates.

    Lead-in words and lengths as in EasyEdit; lengths count the lead-in's tokens; top-k 5 sampling
    from `generator` only. Braces are removed from the texts. They are no answers: a chat frame is
    left out, and comes around them when they are used.
    """
    model = model.plain
    lengths = [n for n in LEAD_LENGTHS for _ in LEAD_COPIES * LEAD_INS]
    rows = [encode(model, word).ids for _ in LEAD_LENGTHS for word in LEAD_COPIES * LEAD_INS]
    with model.evaluating():
        tails = continue_rows(
            model, rows, max(LEAD_LENGTHS), choose=top_k_sampler(_TOP_K, generator)
        )
    texts = []
    for row, tail, length in zip(rows, tails, lengths, strict=True):
        bos = sum(token in model.special_ids for token in row)
        texts.append(model.decode((*row, *tail)[: bos + length]))
    return (SLOT, *(_as_template(text) for text in texts))


def _as_template(text: str) -> str:
    clean = "".join(" " if c in "{}\ufffd" or not c.isprintable() else c for c in text)
    return " ".join(clean.split()) + ". " + SLOT
