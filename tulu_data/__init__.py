"""Source, clean, decontaminate, mix and version instruction data, by the Tülu recipe."""

__version__ = "0.1.0"
