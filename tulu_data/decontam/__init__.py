"""Decontamination: which training rows repeat the items of an evaluation suite, and why each was flagged."""
