"""The compute-in-memory tile: its descriptors, a bit-exact model, timing, and the mapping of layers to it."""
