"""Operators that look at one row and reject it or let it pass."""
