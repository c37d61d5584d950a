"""What people and programs read: the table, the sentences under it, and the JSON."""
