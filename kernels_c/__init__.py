"""From a network file to C and executables: plan, loop nests, micro-kernels, epilogues, targets, images."""

if __name__ == "kernels_c":  # found beside the working directory, not through the package
    raise ImportError("kernels_c is now sysmol.kernels_c: import that, or run python -m sysmol.kernels_c")
