"""What goes over the wire: HTTP, the schemas of requests, responses and errors."""
