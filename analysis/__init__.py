"""From run folders and manifests to tables, figures and the report. Nothing here runs a simulation."""
