"""Files → batches: pictures, attribute tables, label groups, pairs and their teachers."""
