"""Real parts: the whole program in a process, and a real registry."""
