"""What `tools/parity` reads and finds, on small trees in the shape of Istio's."""
