"""Decisions before any C is written: where tensors lie, which schedule a layer has, its integer constants."""
