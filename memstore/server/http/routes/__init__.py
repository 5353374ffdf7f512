"""The verbs, one file per subject."""
