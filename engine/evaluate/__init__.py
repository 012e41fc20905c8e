"""Is a picture filter good enough to ship? Measures, gates, a contact sheet: ``engine evaluate``."""
