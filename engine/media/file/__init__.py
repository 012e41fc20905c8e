"""Video files: reading, writing, and passing on what is not translated."""
