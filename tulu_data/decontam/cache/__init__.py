"""Kept between runs, by content: evaluation indexes, and what was found in which batch of training rows."""
