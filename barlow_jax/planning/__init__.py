"""Cost estimates from compiled programs: memory, traffic, collectives and time of a step."""
