"""Inputs that hypothesis makes up: none may be answered with a traceback."""
