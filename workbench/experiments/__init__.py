"""Experiments: variants of one network over several seeds, as rows of a table (docs/training.md)."""
