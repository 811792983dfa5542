"""Mixtures: a recipe is checked, built, stored as a version, and read back with DuckDB."""
