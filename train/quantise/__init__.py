"""From a graph to integers: noise that learns precisions, layouts, calibration, fine-tuning, export."""
