"""gem5 side: the configuration script that runs a compiled network, and its launcher for ordinary Python."""

if __name__ == "configs_gem5":  # found beside the working directory, not through the package
    raise ImportError("configs_gem5 is now sysmol.configs_gem5: import that")
