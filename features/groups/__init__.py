"""Feature groups of the shipped catalog, one module per subject."""
