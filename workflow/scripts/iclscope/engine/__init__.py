"""How a model is run: prompts, packing, attention, scores and generated answers."""
