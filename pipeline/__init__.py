"""Configuration, extract, training, scoring, write-back: everything around features and models."""

__version__ = "0.1.0"
