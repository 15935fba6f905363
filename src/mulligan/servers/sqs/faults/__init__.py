"""What the server does wrong on purpose: the script, its injection into requests, and its control by HTTP."""
