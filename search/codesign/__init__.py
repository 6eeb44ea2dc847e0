"""The co-design loop: training, choice of patterns, generated code and measured cycles feed one another."""
