"""What each token of packed prompts may see, and the two ways in which a model is made to compute just that."""
