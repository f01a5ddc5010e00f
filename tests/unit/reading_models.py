"""Models and sites that tests of activations read."""

import torch
from transformers import AutoModelForCausalLM


def built(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
