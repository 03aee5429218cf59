"""Weights that a module would lose without a word."""
