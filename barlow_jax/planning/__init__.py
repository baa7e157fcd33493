"""What a TPU compiler says of a program: memory, traffic, collectives, time."""
