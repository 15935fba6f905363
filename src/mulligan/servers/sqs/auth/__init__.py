"""Who may ask: keys and what they allow, signatures, Host headers."""
