"""Executes effects: one engine thread per process, and the front ends that talk to it."""
