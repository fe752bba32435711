"""One algorithm per file: its theory first, then the code, and no input or output anywhere."""
