"""How plans and arrays are shown: text, HTML, and drawings made of a few shapes. Nothing in here computes or plans."""
