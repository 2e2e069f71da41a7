"""Stand-ins for what the product reaches through a port, and a server with faults to order."""
