"""Operators that turn completions into pairs of a chosen and a rejected answer, and judge such pairs."""
