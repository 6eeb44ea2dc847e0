"""Whole trainings: phases in order, variants of one network, many of them over several seeds."""
