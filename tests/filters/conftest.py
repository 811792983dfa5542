"""The workspaces that the tests of filters build in."""

from tests.mixtures.conftest import place

__all__ = ["place"]
