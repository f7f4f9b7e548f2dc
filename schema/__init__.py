"""What clients see: types, names, nullability, descriptions. One to three lines per field; the work is elsewhere."""
