"""Ground floor: vectors and their layouts, randomness by name, errors, clocks, plain data."""
