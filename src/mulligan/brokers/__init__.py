"""Message brokers behind one seam, `base`. `open` makes one of a URL; none of them knows another."""
