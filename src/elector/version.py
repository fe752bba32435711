"""The version, in the one place that the build, the command and the traces read."""

__version__ = "0.1.0"
