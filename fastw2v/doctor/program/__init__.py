"""The user's program as text: its lines, expressions, functions and tracebacks."""
