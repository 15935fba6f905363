"""The supervisor: starts workers, extends their leases, releases what a dead one held, stops them."""
