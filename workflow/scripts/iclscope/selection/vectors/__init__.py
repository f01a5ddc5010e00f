"""Retrieval: the candidate whose question is most like an item's."""
