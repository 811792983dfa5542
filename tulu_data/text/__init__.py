"""Text as the matching rules see it: normalised, cut into tokens, hashed. Every kernel has a plain twin."""
