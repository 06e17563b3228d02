"""rome-unsup: ROME that keeps what the model says elsewhere about the subject (thesis 3.2.1.2).

Promise: the loss of v* gains kl_factor * KL(edited || original) for every same-subject probe of the
request; no answers are needed, and without such probes the request is refused.
Rules: the distribution is the next token's after the probe's text (`position="end"`) or after the
subject's last token (`position="subject"`, where ROME takes its essence term).

    hparams = RomeUnsupHparams.from_dict(values)
    delta = RomeUnsup()(model, [request], hparams, context=context)
    delta.evidence["kept"]         # number of probes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from editors.base import Job
from editors.delta import JSON
from editors.methods.rome import RankOne, RomeHparams
from editors.rows import Kept
from editors.same_subject import same_subject


@dataclass(frozen=True, kw_only=True)
class RomeUnsupHparams(RomeHparams):
    """As ROME's, and where the kept distributions are read."""

    position: Literal["end", "subject"] = "end"


class RomeUnsup(RankOne[RomeUnsupHparams]):
    """The editor."""

    name: str = "rome-unsup"
    paper: str = "the thesis, 3.2.1.2: unsupervised same-subject constraints on v*"
    hparams: type[RomeUnsupHparams] = RomeUnsupHparams

    def kept(self, job: Job[RomeUnsupHparams]) -> tuple[tuple[Kept, ...], dict[str, JSON]]:
        """The request's same-subject probes. Raises InvalidRequest where there are none."""
        found = same_subject(job.single, self.name)
        kept = tuple(Kept(text, job.hparams.position == "subject") for text in found.texts)
        return kept, {"kept": len(kept), "skipped": list(found.skipped)}
