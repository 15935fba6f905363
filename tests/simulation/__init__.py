"""The real worker code on a virtual loop, with a simulated broker, ledger and machine that fail by a seeded schedule."""
