"""Selectors that go by vectors: of questions, or features of a sparse autoencoder."""
