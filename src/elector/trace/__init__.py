"""One schema of records for every world: production, simulation, verification."""
