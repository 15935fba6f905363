"""The real worker code on a virtual loop, with a broker, a ledger and a machine that fail by a seeded schedule."""
