"""What is kept of a run and told of it elsewhere: pages, traces, metrics, short messages."""
