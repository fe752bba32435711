"""Pure values: names, durations, the timing budget, events, effects, the contract of a protocol."""
