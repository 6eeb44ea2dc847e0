"""Searches over networks and hardware."""
