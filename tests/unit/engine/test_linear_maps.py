"""What a CPU does otherwise: packed linear maps against the plain model, other products, and memory."""

import platform
import subprocess
import sys
import weakref

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from iclscope.activations.sites import find_blocks
from iclscope.engine.cpu import can_pack, multiplies_exactly, pack_for_cpu, through_onednn


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "gpt2"])  # without and with biases, tied and Conv1D
@pytest.mark.parametrize("tokens", [1, 40])
def test_logits_stay_what_they_were(kind, tokens, tiny_model_of):
    ids = torch.arange(3, 3 + tokens)[None]
    wanted = tiny_model_of(kind)(ids).logits
    model = tiny_model_of(kind)
    pack_for_cpu(model)
    torch.testing.assert_close(model(ids).logits, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_rounds_like_the_plain_model(tiny_model_of):
    ids = torch.arange(3, 30)[None]
    exact = tiny_model_of("llama")(ids).logits
    plain, packed = (tiny_model_of("llama").to(torch.bfloat16) for _ in range(2))
    pack_for_cpu(packed)
    errors = [(model(ids).logits.float() - exact).abs().max().item() for model in (plain, packed)]
    assert errors[1] < 2 * errors[0]


def test_float16_is_left_as_it_is(tiny_model_of):
    model = tiny_model_of("llama").to(torch.float16)
    assert pack_for_cpu(model) == 0
    assert torch.isfinite(model(torch.arange(3, 30)[None]).logits).all()


@pytest.mark.skipif(not can_pack(), reason="no x86 processor, or a PyTorch without oneDNN")
def test_memory_is_not_taken_twice(tiny_model_of):
    model = tiny_model_of("llama", tie_word_embeddings=True)
    plain = [weakref.ref(part.weight) for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert pack_for_cpu(model) == 3 * 7 + 1  # seven maps in each of three blocks, and the head
    kept = [weight() for weight in plain if weight() is not None]
    assert kept == [model.get_input_embeddings().weight]  # shared with the head: it must stay


def test_a_model_that_reads_weights_itself_is_given_them(tiny_model_of):
    """As Mamba reads those of its time steps: a map need not be called to be used."""
    model = tiny_model_of("llama")
    wanted = {name: part.weight.clone() for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    pack_for_cpu(model)
    for name, weight in wanted.items():
        assert torch.equal(model.get_submodule(name).weight, weight)


@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba"])
def test_recurrent_models_stay_what_they_were(kind):
    config = AutoConfig.for_model(kind, vocab_size=400, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    ids = torch.arange(3, 23)[None]
    wanted = model(ids).logits
    pack_for_cpu(model)
    torch.testing.assert_close(model(ids).logits, wanted, rtol=1e-4, atol=1e-5)


def test_hooks_and_sites_still_work(tiny_model_of):
    model = tiny_model_of("llama")
    pack_for_cpu(model)
    (first, *_) = find_blocks(model)
    seen = []
    handle = first.down_projection.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))
    model(torch.arange(5)[None])
    handle.remove()
    assert seen == [(1, 5, first.width("mlp_act"))]


@pytest.mark.skipif(not multiplies_exactly(), reason="oneDNN rounds here, or cannot be asked")
@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 64, 7), (96, 64, 300), (96, 300, 64), (500, 128, 2000)])
def test_products_through_onednn_are_not_rounded(rows, inner, columns):
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randn(5, rows, inner, generator=draw), torch.randn(5, inner, columns, generator=draw)
    before = torch.backends.mkldnn.matmul.fp32_precision
    with through_onednn():
        found = left @ right
    exact = left.double() @ right.double()
    assert (found - exact).abs().max() <= 2 * ((left @ right) - exact).abs().max() + 1e-6
    assert torch.backends.mkldnn.matmul.fp32_precision == before


USES_MEMORY = """
import resource
import numpy as np
from iclscope.engine.cpu import keep_memory

def cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**21)  # 16 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_memory()
cleared()
print(cleared())
"""
LEAVES_LOGITS = """
import resource
from pathlib import Path
import numpy as np
from iclscope.engine.cpu import keep_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024  # kB

keep_memory()
logits = np.ones((400, 49152), dtype=np.float32)
stays = np.ones(2**16)  # so that the place of the logits is not the last one
before = resident()
del logits
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_was_used_is_used_again():
    """One use of 16 MB clears 4,096 pages where the system gives them anew."""
    done = subprocess.run([sys.executable, "-c", USES_MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_memory_of_many_logits_is_given_back():
    """80 MB: kept, something small would take a part of their place, and the next ones need another."""
    done = subprocess.run([sys.executable, "-c", LEAVES_LOGITS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 70_000  # kB
