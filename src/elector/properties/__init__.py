"""What must hold in every run, judged over traces: online while it runs, or from a file."""
