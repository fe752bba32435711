"""A seeded world in simulated time: clocks, network, disks, a store, and everything that fails."""
