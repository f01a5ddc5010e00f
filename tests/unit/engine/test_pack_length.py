"""The choice of how many tokens go through a model at once, with a clock and a memory of our own."""

import pytest
import torch

from iclscope.engine.batch_tokens import LADDER, PackLength
from iclscope.runtime.errors import StudyError


class Device:
    """Computes `rate(tokens per pass)` tokens a second and runs out of memory beyond `memory` tokens per pass."""

    def __init__(self, rate=lambda tokens: 1000.0, memory=10**9, error=None):
        self.rate, self.memory = rate, memory
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.now, self.asked = 0.0, []

    def work(self, amount):
        def run(tokens):
            self.asked.append(tokens)
            if tokens > self.memory:
                raise self.error
            self.now += amount / self.rate(tokens)
            return amount

        return run

    def length_after(self, pieces, amount=10**6, given="auto"):
        length = PackLength(given, clock=lambda: self.now)
        for _ in range(pieces):
            assert length.run(self.work(amount), lambda: amount) == amount
        return length.tokens


def test_takes_what_is_given():
    device = Device()
    assert device.length_after(3, given=300) == 300
    assert device.asked == [300] * 3


def test_stays_short_where_longer_is_hardly_faster():
    assert Device(lambda tokens: 1000 + tokens / 100).length_after(12) == LADDER[0]


def test_climbs_as_long_as_it_pays():
    assert Device(lambda tokens: min(tokens, LADDER[1])).length_after(12) == LADDER[1]
    assert Device(float).length_after(12) == LADDER[-1]


def test_settles_and_asks_for_nothing_else_afterwards():
    device = Device(lambda tokens: min(tokens, LADDER[1]))
    device.length_after(30)
    assert set(device.asked[-20:]) == {LADDER[1]}


@pytest.mark.parametrize(("rate", "length"), [(float, LADDER[1]), (lambda tokens: 1000.0, LADDER[0])])
def test_work_shorter_than_the_pack_ends_the_search(rate, length):
    """A pack that holds all of the work cannot be outdone by a longer one, but is compared with the one before."""
    device = Device(rate)
    assert device.length_after(8, amount=LADDER[1] - 1) == length
    assert max(device.asked) == LADDER[1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_lack_of_memory_halves_the_pack_and_loses_nothing(error, caplog):
    device = Device(memory=700, error=error)
    assert device.length_after(3, given=2048) == 512
    assert device.asked == [2048, 1024, 512, 512, 512]
    assert "512 tokens go through the model at once from here on" in caplog.text


def test_lack_of_memory_ends_the_search():
    assert Device(float, memory=5000).length_after(12) == LADDER[1]


def test_gives_up_where_nothing_fits():
    with pytest.raises(StudyError, match=r"^out of memory with 64 tokens at a time .*models\.\*\.dtype: bfloat16$"):
        Device(memory=10).length_after(1, given=256)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"):
        Device(memory=10, error=RuntimeError("shapes do not match")).length_after(1, given=256)
