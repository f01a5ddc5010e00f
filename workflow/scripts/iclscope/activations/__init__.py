"""What a model does while it reads a demonstration: masks, sites, statistics per token, whole activations."""
