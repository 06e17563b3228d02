"""The known shapes of records, told apart by their keys, and what each becomes.

Promise: a conversion only rearranges what stands in the record; a value of another kind than the
shape has is an error, and what is left out is noted.
Rules: the first shape that fits is taken. `columns` are the keys that a shape knows, used or not.

    shape_of(raw).name                  # "counterfact"
    [draft.facts[0].target_new for draft in shape_of(raw).convert(raw)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final

from editors.requests import EditRequest
from ledger.errors import InvalidInput
from ledger.evaluation.datasets import languages
from ledger.evaluation.datasets.records import Draft, DraftFact, Raw, RecordProbe
from ledger.evaluation.datasets.values import (
    NO_ANSWER,
    answers,
    grouped,
    one,
    own_name,
    pairs_in,
    texts,
)

EDITING = "edit"
KNOWING = "known facts"


@dataclass(frozen=True)
class Shape:
    """A kind of record. `fits` decides whether a record is of it; `use` says what it is for."""

    name: str
    about: str
    source: str
    fits: Callable[[Raw], bool]
    columns: frozenset[str]
    convert: Callable[[Raw], Iterable[Draft]]
    use: str = EDITING


def shape_of(raw: Raw, name: str | None = None) -> Shape:
    """The shape of a record, or the one called `name`.

    Raises: InvalidInput if no shape is known, or none has that name.
    """
    if name is not None:
        if name not in SHAPES:
            raise InvalidInput(f"no shape is called {name!r}; there are {', '.join(SHAPES)}")
        return SHAPES[name]
    for shape in SHAPES.values():
        if shape.fits(raw):
            return shape
    raise InvalidInput(
        f"no known shape has the keys {', '.join(sorted(map(str, raw))) or '(none)'}; "
        "give at least subject, prompt and target_new"
    )


# --- ours ---------------------------------------------------------------------------------------


def _kel(raw: Raw) -> Iterable[Draft]:
    request = EditRequest.from_json(dict(raw))
    probes = tuple(
        RecordProbe(kind, probe.prompt, (probe.answer,) if probe.answer else ())
        for kind in ("neighbourhood", "same_subject", "portability")
        for probe in getattr(request, kind)
    )
    fact = DraftFact(
        request.subject,
        request.prompt,
        request.target_new,
        request.target_true,
        request.paraphrases,
    )
    yield Draft((fact,), probes, request=request)


# --- CounterFact --------------------------------------------------------------------------------


def _counterfact(raw: Raw) -> Iterable[Draft]:
    rewrite = raw["requested_rewrite"]
    if not isinstance(rewrite, Mapping):
        raise InvalidInput("requested_rewrite is a list of rewrites; split them into records")
    fact = _rewrite(rewrite, texts(raw.get("paraphrase_prompts")))
    true = (fact.target_true,)
    unrelated = raw.get("unrelated_relation") or {}
    yield Draft(
        facts=(fact,),
        probes=(
            *(
                RecordProbe(kind, prompt, true, group)
                for kind, group, column in (
                    ("neighbourhood", "neighbour", "neighborhood_prompts"),
                    ("distracting", "distracting", "distracting_neighborhood_prompts"),
                )
                for prompt in texts(raw.get(column))
            ),
            *one("same_subject", unrelated.get("question"), unrelated.get("object"), "unrelated"),
            *_one_hop(raw),
        ),
        name=own_name(raw, "case_id"),
        generation=texts(raw.get("generation_prompts")),
    )


def _rewrite(rewrite: Raw, paraphrases: tuple[Any, ...]) -> DraftFact:
    return DraftFact(
        subject=rewrite["subject"],
        prompt=rewrite["prompt"],
        target_new=rewrite["target_new"]["str"],
        target_true=rewrite["target_true"]["str"],
        paraphrases=paraphrases,
        relation=str(rewrite.get("relation_id") or ""),
    )


def _one_hop(raw: Raw) -> tuple[RecordProbe, ...]:
    """The question that EasyEdit asks after one more hop."""
    extra = raw.get("portability") or {}
    question = extra.get("New Question")
    return one("portability", question, extra["New Answer"] if question else None, "one_hop")


def _counterfact_flat(raw: Raw) -> Iterable[Draft]:
    fact = DraftFact(
        subject=raw["subject"],
        prompt=raw["prompt"],
        target_new=raw["target_new"],
        target_true=raw.get("ground_truth"),
        paraphrases=texts(raw.get("rephrase_prompt")),
    )
    place, answer = raw.get("locality_prompt"), raw.get("locality_ground_truth")
    near = one("neighbourhood", place, answer, "neighbour")
    yield Draft((fact,), near, name=own_name(raw, "case_id"))


def _mquake(raw: Raw) -> Iterable[Draft]:
    """All rewrites together, each asked again as a question, and the questions over all hops."""
    facts = tuple(_rewrite(r, texts(r.get("question"))) for r in raw["requested_rewrite"])
    answer = (*texts(raw["new_answer"]), *texts(raw.get("new_answer_alias")))
    hops = tuple(
        RecordProbe("portability", hop["question"], (*texts(hop["answer"]), *alias), "single_hop")
        for hop in raw.get("new_single_hops", ())
        for alias in (texts(hop.get("answer_alias")),)
        if hop["question"] not in {text for fact in facts for text in fact.paraphrases}
    )
    asked = tuple(RecordProbe("multi_hop", q, answer, "multi_hop") for q in texts(raw["questions"]))
    yield Draft(facts, (*hops, *asked), name=own_name(raw, "case_id"))


# --- ZsRE and KnowEdit --------------------------------------------------------------------------


def _zsre(raw: Raw) -> Iterable[Draft]:
    subject, new = raw["subject"], raw["alt"]
    fact = DraftFact(
        subject=subject,
        prompt=raw["src"],
        target_new=new,
        target_true=next(iter(answers(raw.get("answers"))), None),
        paraphrases=texts(raw.get("rephrase")),
    )
    yield Draft(
        facts=(fact,),
        probes=(
            *one("neighbourhood", raw.get("loc"), raw.get("loc_ans"), "random"),
            *_one_hop(raw),
            *one("portability", raw.get("inverse question"), subject, "inverse"),
            *one("portability", raw.get("alter_subject_question"), new, "subject_replace"),
        ),
        lenient=True,
    )


def _knowedit(raw: Raw) -> Iterable[Draft]:
    fact = DraftFact(
        subject=raw["subject"],
        prompt=raw["prompt"],
        target_new=raw["target_new"],
        target_true=next(iter(answers(raw.get("ground_truth"))), None),
        paraphrases=texts(raw.get("rephrase_prompt") or raw.get("rephrase")),
    )
    found = [
        RecordProbe(_kind(column, name), prompt, right, grouped(name))
        for column in ("locality", "portability")
        for name, items in (raw.get(column) or {}).items()
        for prompt, right in pairs_in(items)
    ]
    asked = tuple(probe for probe in found if probe.answers)
    left_out = len(found) - len(asked)
    notes = (f"{left_out} {NO_ANSWER}",) if left_out else ()
    yield Draft((fact,), asked, lenient=True, notes=notes)


def _kind(column: str, name: str) -> str:
    if column == "portability":
        return column
    return "same_subject" if name == "Relation_Specificity" else "neighbourhood"


# --- facts that a model is expected to know -----------------------------------------------------


def _known(raw: Raw) -> Iterable[Draft]:
    fact = DraftFact(
        subject=raw["subject"],
        prompt=raw.get("template") or raw["prompt"],
        target_new=raw["attribute"],
        relation=str(raw.get("relation_id") or ""),
    )
    yield Draft((fact,), name=own_name(raw, "known_id"), known=True)


def _relations(raw: Raw) -> Iterable[Draft]:
    subject = raw["subject"]
    wordings = (*texts(raw["prompt_templates"]), *texts(raw.get("prompt_templates_zs")))
    first, *others = wordings
    fact = DraftFact(
        subject=subject,
        prompt=first,
        target_new=raw["object"],
        paraphrases=tuple(dict.fromkeys(text.replace("{}", subject) for text in others)),
        relation=str(raw.get("relation") or ""),
    )
    yield Draft((fact,), known=True)


# --- the table ----------------------------------------------------------------------------------


def _has(*keys: str) -> Callable[[Raw], bool]:
    return lambda raw: all(key in raw for key in keys)


def _has_any(*keys: str) -> Callable[[Raw], bool]:
    return lambda raw: any(key in raw for key in keys)


def _columns(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


_ROME: Final = (
    "case_id, pararel_idx, requested_rewrite, paraphrase_prompts, neighborhood_prompts, "
    "attribute_prompts, generation_prompts, portability, unrelated_relation, "
    "distracting_neighborhood_prompts, origin"
)
_MEND: Final = (
    "subject, src, pred, rephrase, alt, answers, loc, loc_ans, cond, portability, "
    "inverse question, alternative_subject, alter_subject_question"
)
_ALL: Final = (
    Shape("mquake", "chains of edits and questions over all hops", "princeton-nlp/MQuAKE",
          _has("requested_rewrite", "questions"),
          _columns("case_id, requested_rewrite, questions, answer, answer_alias, new_answer, "
                   "new_answer_alias, single_hops, new_single_hops, orig"), _mquake),
    Shape("counterfact", "CounterFact as ROME has it; also with EasyEdit's portability questions "
          "or distracting neighbours", "kmeng01/rome",
          _has("requested_rewrite"), _columns(_ROME), _counterfact),
    Shape("zsre", "ZsRE as MEND has it; also with portability, inverse or replaced subjects",
          "eric-mitchell/mend, zjunlp/EasyEdit", _has("src"), _columns(_MEND), _zsre),
    Shape("counterfact-flat", "CounterFact as EasyEdit has it", "zjunlp/EasyEdit",
          _has("locality_prompt"),
          _columns("case_id, prompt, target_new, subject, ground_truth, rephrase_prompt, "
                   "locality_prompt, locality_ground_truth, easyedit_split"), _counterfact_flat),
    Shape("known", "facts that GPT-2 XL knows, for tracing", "kmeng01/rome",
          _has("subject", "attribute"),
          _columns("known_id, subject, attribute, template, prediction, prompt, relation_id"),
          _known, KNOWING),
    Shape("lre", "facts by relation, in several wordings", "evandez/relations",
          _has("prompt_templates", "object"),
          _columns("relation, prompt_templates, prompt_templates_zs, subject, object"),
          _relations, KNOWING),
    Shape("cknowedit", "Chinese texts and facts; the subject is what all wordings share",
          "zjunlp/CKnowEdit", _has("target_old"),
          _columns("prompt, target_old, target_new, portability, locality, rephrase, type, index, "
                   "subject"), languages.cknowedit),
    Shape("bmike53", "ZsRE, CounterFact and others, the same record in several languages",
          "ercong21/MultiKnow", languages.is_parallel, frozenset(), languages.bmike53),
    Shape("knowedit", "KnowEdit: ZsRE, wiki_recent and wiki_counterfact, with same-subject probes",
          "zjunlp/KnowEdit", _has_any("rephrase_prompt", "ground_truth", "locality"),
          _columns("subject, prompt, target_new, ground_truth, rephrase_prompt, rephrase, cond, "
                   "locality, portability"), _knowedit),
    Shape("kel", "our own", "docs/formats.md", _has("prompt"),
          frozenset(field.name for field in fields(EditRequest)), _kel),
)  # fmt: skip
SHAPES: Final = MappingProxyType({shape.name: shape for shape in _ALL})
