"""Real processes under random faults for as long as wanted: `make soak`."""
