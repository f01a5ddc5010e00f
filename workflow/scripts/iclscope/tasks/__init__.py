"""Rows become prompts: task definitions, rendering, the pool and the samples."""
