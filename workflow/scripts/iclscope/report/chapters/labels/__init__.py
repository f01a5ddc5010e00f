"""Chapters on which examples to label."""
