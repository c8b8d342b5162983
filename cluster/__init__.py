"""Where and when tasks run, and where their bytes live. Knows tasks; knows no arrays' meaning."""
