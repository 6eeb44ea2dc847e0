"""Networks and hardware searched together (docs/search.md)."""
