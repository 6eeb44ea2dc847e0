"""From run folders and manifests to tables, figures and the report. Nothing here runs a simulation."""

if __name__ == "analysis":  # found beside the working directory, not through the package
    raise ImportError("analysis is now sysmol.analysis: import that")
