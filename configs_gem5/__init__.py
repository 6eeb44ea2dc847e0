"""gem5 side: the configuration script that runs a compiled network, and its launcher for ordinary Python."""
