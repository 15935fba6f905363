"""The rules of the actions, on any store. No socket, event loop or clock."""
