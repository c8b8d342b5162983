"""How other libraries see our arrays."""
