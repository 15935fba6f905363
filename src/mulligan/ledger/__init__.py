"""The durable record of progress behind one seam, `base`. `open` makes one of a URL."""
