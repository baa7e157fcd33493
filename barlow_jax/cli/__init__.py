"""Command line: arguments, command registry, error reporting."""
