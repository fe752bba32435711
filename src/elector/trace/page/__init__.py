"""A trace as one page: who spoke to whom, who led when, and where it went wrong."""
