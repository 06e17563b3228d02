"""The world of the embedded model: fictional people, what is true of them, and how it is said.

Promise: `build_world()` is a pure function of its seed; no name, place or fact is real.

Rules: a fact is (person, relation, value); every relation has several phrasings, each ending right
before the answer; for every fact `HELD_OUT` phrasings are never shown in training, so that they
measure recall on a phrasing that was not seen for that subject. The first phrasing of a relation
is always trained.

    world = build_world()
    fact = world.facts[0]
    fact.prompt, fact.target_true      # '{} was born in', 'Tolvesk'
    fact.unseen_paraphrases            # full prompts, subject filled in
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ledger.demo.vocabulary import (
    CHINESE,
    ENGLISH,
    GIVEN_NAME_CHARACTERS,
    ONSETS,
    RHYMES,
    SURNAMES,
    Relation,
)

SEED = 20_24
ENGLISH_PEOPLE = 200
CHINESE_PEOPLE = 80
FIRST_NAMES = 60
LAST_NAMES = 150
HELD_OUT = 2


@dataclass(frozen=True)
class WorldFact:
    """One fact. `prompt` is a template with one `{}`; the paraphrases are filled in."""

    subject: str
    relation: str
    prompt: str
    target_true: str
    paraphrases: tuple[str, ...]
    unseen_paraphrases: tuple[str, ...]
    language: str

    @property
    def text(self) -> str:
        """The prompt with the subject in its place."""
        return self.prompt.replace("{}", self.subject)


@dataclass(frozen=True)
class World:
    """All facts, in a fixed order, and the values each relation can take."""

    facts: tuple[WorldFact, ...]
    values: dict[str, tuple[str, ...]]


def build_world(seed: int = SEED) -> World:
    """Return the world of `seed`: people x relations, English first, then Chinese."""
    rng = random.Random(seed)  # noqa: S311 - a reproducible world, not a secret
    english = _english_names(rng, ENGLISH_PEOPLE)
    chinese = _chinese_names(rng, CHINESE_PEOPLE)
    facts = [
        _fact(rng, name, relation, language)
        for names, relations, language in ((english, ENGLISH, "en"), (chinese, CHINESE, "zh"))
        for name in names
        for relation in relations
    ]
    values = {relation.name: relation.values for relation in (*ENGLISH, *CHINESE)}
    return World(facts=tuple(facts), values=values)


def _fact(rng: random.Random, name: str, relation: Relation, language: str) -> WorldFact:
    value = rng.choice(relation.values)
    first, *others = relation.phrasings
    unseen = set(rng.sample(others, HELD_OUT))
    return WorldFact(
        subject=name,
        relation=relation.name,
        prompt=first,
        target_true=value,
        paraphrases=tuple(p.replace("{}", name) for p in others if p not in unseen),
        unseen_paraphrases=tuple(p.replace("{}", name) for p in others if p in unseen),
        language=language,
    )


def _invented(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choice(ONSETS) + rng.choice(RHYMES) for _ in range(syllables)).capitalize()


def _distinct(rng: random.Random, count: int, syllables: int, taken: set[str]) -> list[str]:
    words: list[str] = []
    while len(words) < count:
        word = _invented(rng, syllables)
        if word not in taken:
            taken.add(word)
            words.append(word)
    return words


def _english_names(rng: random.Random, count: int) -> list[str]:
    taken: set[str] = set()
    firsts = _distinct(rng, FIRST_NAMES, 2, taken)
    lasts = _distinct(rng, LAST_NAMES, 2, taken)
    # Some last names belong to two people, so that the last token alone is not always enough.
    family = lasts + rng.sample(lasts, count - len(lasts))
    names: list[str] = []
    for last in family:
        name = f"{rng.choice(firsts)} {last}"
        while name in names:
            name = f"{rng.choice(firsts)} {last}"
        names.append(name)
    return names


def _chinese_names(rng: random.Random, count: int) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        given = rng.choice(GIVEN_NAME_CHARACTERS) + rng.choice(GIVEN_NAME_CHARACTERS)
        name = rng.choice(SURNAMES) + given
        if name not in names:
            names.append(name)
    return names
