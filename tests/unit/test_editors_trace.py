"""A trace leaves no hook behind; Adam is Adam."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from editors.errors import (
    UnsupportedModel,
)
from editors.optim import Adam
from editors.trace import Trace


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return x + 1, "rest"


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Identity(), Pair(), nn.Identity()
        self.ran: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.ran.append("a")
        x, rest = self.b(x)
        assert rest == "rest"
        self.ran.append("b")
        return self.c(x)


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_a_trace_records_and_edits_tensors_and_tuples() -> None:
    chain = Chain()
    with Trace(
        chain,
        inputs=["a", "c"],
        outputs=["b"],
        edit_inputs={"a": lambda x: x * 10},
        edit_outputs={"b": lambda x: x * 2},
    ) as trace:
        result = chain(torch.ones(1))
    seen = (trace.input("a"), trace.output("b"), trace.input("c"))
    assert [float(tensor) for tensor in seen] == [1, 11, 22]
    assert float(result) == 22
    assert hooks(chain) == 0


def test_a_skipped_module_returns_what_is_given_and_runs_again_afterwards() -> None:
    chain = Chain()
    with Trace(chain, outputs=["a", "b"]) as trace:
        chain(torch.ones(1))
    assert trace.formed("a", torch.zeros(1)).shape == (1,)
    given = (trace.formed("b", torch.full((1,), 5.0))[0], "rest")
    for error in (None, RuntimeError):
        with pytest.raises(RuntimeError) if error else nullcontext():
            edits = {"b": lambda x: x * 2}
            with Trace(chain, skip={"a": torch.zeros(1), "b": given}, edit_outputs=edits):
                assert float(chain(torch.ones(1))) == 10
                if error:
                    raise error
        assert "forward" not in vars(chain.b)
        assert float(chain(torch.ones(1))) == 2
    assert trace.formed("b", torch.zeros(1))[1] is None


def test_a_forward_that_was_put_on_an_instance_comes_back() -> None:
    chain = Chain()
    own = vars(chain.a)["forward"] = lambda x: x * 3
    with Trace(chain, skip={"a": torch.zeros(1)}):
        assert float(chain(torch.ones(1))) == 1
    assert vars(chain.a)["forward"] is own
    with pytest.raises(UnsupportedModel), Trace(chain, skip={"a": 0, "nowhere": 0}):
        pass
    assert vars(chain.a)["forward"] is own


def test_a_trace_stops_after_the_deepest_named_module() -> None:
    chain = Chain()
    with Trace(chain, inputs=["b"], outputs=["a"], stop=True) as trace:
        chain(torch.ones(1))
    assert chain.ran == ["a"]
    assert (float(trace.output("a")), float(trace.input("b"))) == (1, 1)
    assert hooks(chain) == 0


def test_an_inner_stop_ends_only_the_inner_block() -> None:
    chain = Chain()
    with Trace(chain, inputs=["c"]) as outer:
        with Trace(chain, outputs=["a"], stop=True):
            chain(torch.ones(1))
        chain(torch.ones(1))
    assert float(outer.input("c")) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_trace_removes_its_hooks_and_passes_errors_on(error: type[BaseException]) -> None:
    chain = Chain()

    def broken(x: Tensor) -> Tensor:
        raise error

    with pytest.raises(error), Trace(chain, inputs=["a"], edit_outputs={"b": broken}):
        chain(torch.ones(1))
    assert hooks(chain) == 0


def test_a_trace_of_what_does_not_exist_or_does_not_run_is_refused() -> None:
    chain = Chain()
    wrong = Trace(chain, inputs=["a", "nope"])
    with pytest.raises(UnsupportedModel, match="no module 'nope'"), wrong:
        pass
    assert hooks(chain) == 0
    chain.idle = nn.Identity()
    with Trace(chain, inputs=["idle"]) as trace:
        chain(torch.ones(1))
    with pytest.raises(UnsupportedModel, match="'idle' was not run"):
        trace.input("idle")


def test_adam_equals_torch() -> None:
    torch.manual_seed(0)
    ours = theirs = torch.randn(7)
    theirs = theirs.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.3)
    adam = Adam(0.3)
    for _ in range(40):
        gradient = torch.randn(7)
        ours = adam.step(ours, gradient)
        theirs.grad = gradient.clone()
        reference.step()
    assert torch.allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
