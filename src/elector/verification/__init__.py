"""Exhaustive exploration of the same steps that production takes, and shortest counterexamples."""
