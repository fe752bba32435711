"""A seeded world: clocks, a network, disks, a store and everything that fails, in simulated time."""
