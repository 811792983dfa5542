"""Finding rows that say the same."""
